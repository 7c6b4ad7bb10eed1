"""Runs the workers of a training run on Ray Train, and starts them again until the run has ended.

`fit` is called in an actor: in a `RunController`, or in a trial of a sweep.
"""

import asyncio
import os
import time
import traceback
from typing import Any, TypedDict

import ray
import ray.train
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from fmnist.cluster.placement_groups import remove_stale_placement_groups
from fmnist.cluster.resources import num_workers, worker_resources
from fmnist.errors import UserError
from fmnist.models.tensorflow import import_tensorflow
from fmnist.run_settings import least_and_most
from fmnist.storage.atomic import temporary_folder
from fmnist.storage.lease import LEASE, Lease, LeaseLost, hold_lease
from fmnist.storage.manifest import read_manifest
from fmnist.training import backend
from fmnist.training.backend import KerasConfig
from fmnist.training.spec import RunContext, RunResult, RunSpec
from fmnist.training.stopped_runs import read_stopped

RAY_SETTINGS = {
    # Seconds between the controller's checks of its workers. Ray's 2 s would be lost after each
    # failure.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    # Ray's own watcher would be one more process for each run. Workers act on SIGTERM instead.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
}

# For runs with a range of workers. Ray Train waits this long for workers to start. It learns within
# 20 s that a node has gone, so most of its own 60 s would be lost.
ELASTIC = {"RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "20"}


class TrainLoopConfig(TypedDict):
    """Argument of the training function, which Ray Train passes to each worker."""

    spec: RunSpec
    context: RunContext


class KerasTrainer(DataParallelTrainer):
    """Leaves out three processes that Ray Train would start for each run.

    One has the controller, which works here in the process that calls `fit`. One distributes Ray
    data sets, which are not used here. The last removes the placement group of a controller that
    was killed, as `fmnist.cluster.placement_groups` does; it is a detached actor, and without a
    dashboard it would live on after the job.
    """

    def _initialize_and_run_controller(self, **settings: Any) -> ray.train.Result:
        controller = TrainController(**settings)
        asyncio.run(controller.run())
        return controller.get_result()

    def _create_default_callbacks(self) -> list[Any]:
        left_out = (DatasetsCallback, PlacementGroupCleanerCallback)
        return [
            callback
            for callback in super()._create_default_callbacks()
            if not isinstance(callback, left_out)
        ]


def fit(spec: RunSpec, context: RunContext) -> RunResult:
    """Trains until the run has ended, with new workers after each preemption.

    Holds the run's lease meanwhile. If another job takes the lease over, the workers save a
    checkpoint and end, and this job waits for the lease again.
    """
    monitor, key = context.monitor, f"{spec.folder}/{LEASE}"

    def tell_waiting(text: str) -> None:
        monitor.add_note.remote(text)
        monitor.set_stage.remote("waiting for the other job")

    while True:
        try:
            with (
                hold_lease(
                    spec.storage,
                    key,
                    notify=tell_waiting,
                    on_loss=monitor.request_preemption.remote,
                ) as lease,
                remove_stale_placement_groups(),
            ):
                monitor.withdraw_preemption.remote()
                return _fit_with_lease(spec, context, lease)
        except LeaseLost:
            continue
        except UserError as error:
            return RunResult(error=str(error))


def _fit_with_lease(spec: RunSpec, context: RunContext, lease: Lease) -> RunResult:
    while read_manifest(spec.storage, spec.folder) is None:
        lease.check()
        if context.early_stopper and read_stopped(spec.storage, [spec.folder]):
            return RunResult()  # by another job, or before a process died
        result = _fit_once(spec, context)
        if not result.preempted or ray.get(context.monitor.stop_requested.remote()):
            return result
    return RunResult()


def _fit_once(spec: RunSpec, context: RunContext) -> RunResult:
    cluster = spec.cluster
    least, most = least_and_most("workers", spec.training.workers)
    for name, value in (RAY_SETTINGS | (ELASTIC if least < most else {})).items():
        os.environ.setdefault(name, value)
    context.monitor.set_stage.remote("starting the workers")
    # Ray Train needs a folder for its own records. They are thrown away: all that a run needs to
    # continue is in our storage.
    with temporary_folder() as records:
        trainer = KerasTrainer(
            _train_loop,
            train_loop_config=TrainLoopConfig(spec=spec, context=context),
            backend_config=KerasConfig(gpu=cluster.gpu, mark=context.mark),
            scaling_config=ray.train.ScalingConfig(
                num_workers=num_workers(spec.training, cluster),
                elastic_resize_monitor_interval_s=cluster.resize_every,
                use_gpu=cluster.gpu,
                resources_per_worker=worker_resources(cluster),
            ),
            run_config=ray.train.RunConfig(
                name=spec.id,
                storage_path=str(records),
                failure_config=ray.train.FailureConfig(max_failures=cluster.max_failures),
            ),
        )
        try:
            result: RunResult = trainer.fit().return_value
        except ray.train.TrainingFailedError:
            if message := ray.get(context.monitor.last_error.remote()):
                return RunResult(error=message)
            raise
    return result


def _train_loop(config: TrainLoopConfig) -> RunResult:
    """Runs in each worker."""
    if backend.setup_error:
        return RunResult(error=backend.setup_error)
    begin = time.perf_counter()
    if ray.train.get_context().get_world_rank() == 0:
        config["context"].monitor.set_stage.remote("importing TensorFlow")
    import_tensorflow(gpu=config["spec"].cluster.gpu)
    from fmnist.training.worker.main import run_worker  # imports Keras, so only in workers

    try:
        return run_worker(config["spec"], config["context"], begin)
    except Exception as error:
        # The controller would import TensorFlow to unpickle one of its errors, such as that of a
        # collective whose other rank died: seconds in which it does nothing else, and 0.5 GB.
        raise RuntimeError("".join(traceback.format_exception(error))) from None
