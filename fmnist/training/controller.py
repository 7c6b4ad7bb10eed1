"""The workers of a run on Ray Train, from their start to their end; in a process of the cluster."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
import ray.train
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from fmnist.cluster.placement_groups import remove_stale_placement_groups
from fmnist.cluster.resources import num_workers, worker_resources
from fmnist.errors import UserError
from fmnist.models.tensorflow import import_tensorflow
from fmnist.storage.atomic import temporary_folder
from fmnist.storage.lease import LEASE, Lease, LeaseLost, hold_lease
from fmnist.storage.manifest import read_manifest
from fmnist.training import backend
from fmnist.training.backend import KerasConfig
from fmnist.training.spec import RunResult, RunSpec


class Trainer(DataParallelTrainer):
    """Leaves out two of the helpers that Ray Train starts for each run, each a process of its own.

    One hands out Ray data sets, of which there are none. The other removes the workers' placement
    group when the controller was killed, which `fmnist.cluster.placement_groups` does; it is a
    detached actor, and where there is no dashboard it would outlive the job.
    """

    def _create_default_callbacks(self) -> list[Any]:
        left_out = (DatasetsCallback, PlacementGroupCleanerCallback)
        return [
            callback
            for callback in super()._create_default_callbacks()
            if not isinstance(callback, left_out)
        ]


def fit(spec: RunSpec) -> RunResult:
    """Runs the workers to the end, again after each time that a worker had to leave."""
    monitor = spec.monitor
    key, tell, pause = f"{spec.folder}/{LEASE}", monitor.note.remote, monitor.pause.remote
    while True:
        try:
            with (
                hold_lease(spec.storage, key, notify=tell, on_loss=pause) as lease,
                remove_stale_placement_groups(),
            ):
                monitor.go_on.remote()
                return _fit(spec, lease)
        except LeaseLost:  # the workers have saved their state: wait for the other job
            continue
        except UserError as error:
            return RunResult(mistake=str(error))


def _fit(spec: RunSpec, lease: Lease) -> RunResult:
    failures = 0
    while read_manifest(spec.storage, spec.folder) is None:
        lease.check()
        try:
            ending = _fit_once(spec)
        except ray.exceptions.RayActorError:
            failures += 1  # of the controller, which Train does not restart
            if failures > spec.cluster.max_failures:
                raise
            continue
        if not ending.paused or ray.get(spec.monitor.stopping.remote()):
            return ending
    return RunResult()


def _fit_once(spec: RunSpec) -> RunResult:
    # Between the controller's looks at its workers; Ray's 2 seconds are lost after each failure.
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")
    # A process more for each run, for a notice that nothing here asks for: workers heed SIGTERM.
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    cluster = spec.cluster
    # Ray Train wants a folder for its own records, of which nothing here depends: what a run needs
    # to go on lies in our storage.
    with _own_sigint(), temporary_folder() as records:
        trainer = Trainer(
            _work,
            train_loop_config={"spec": spec},
            backend_config=KerasConfig(gpu=cluster.gpu, mark=spec.mark),
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
            return trainer.fit().return_value
        except ray.train.TrainingFailedError:
            if mistake := ray.get(spec.monitor.failure.remote()):
                return RunResult(mistake=mistake)
            raise


@contextmanager
def _own_sigint() -> Iterator[None]:
    """Ray Train leaves a handler of SIGINT behind that keeps its controller, a process, alive."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is not before:
            signal.signal(signal.SIGINT, before)


def _work(config: dict[str, RunSpec]) -> RunResult:
    if backend.mistake:
        return RunResult(mistake=backend.mistake)
    begin = time.perf_counter()
    import_tensorflow(gpu=config["spec"].cluster.gpu)
    from fmnist.training.worker.main import work  # workers alone hold a model

    return work(config["spec"], begin)
