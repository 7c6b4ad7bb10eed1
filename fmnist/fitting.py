"""The workers of a run on Ray Train, from their start to their end; in a process of the cluster."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
import ray.train
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from fmnist import orphans
from fmnist.assignment import Assignment, Ending
from fmnist.backend import KerasConfig
from fmnist.capacity import scale
from fmnist.drafts import scratch
from fmnist.errors import UserError
from fmnist.imports import import_tensorflow
from fmnist.lease import LEASE, held
from fmnist.manifest import read_manifest


def fit(assignment: Assignment, callbacks: tuple[ray.train.UserCallback, ...] = ()) -> Ending:
    """Runs the workers to the end, again after each time that a worker had to leave."""
    storage, board = assignment.storage, assignment.board
    try:
        lease = held(storage, f"{assignment.folder}/{LEASE}", tell=board.note.remote)
        with lease, orphans.removed():
            failures = 0
            while read_manifest(storage, assignment.folder) is None:
                try:
                    ending = _fit_once(assignment, callbacks)
                except ray.exceptions.RayActorError:
                    failures += 1  # of the controller, which Train does not restart
                    if failures > assignment.cluster.max_failures:
                        raise
                    continue
                if not ending.paused or ray.get(board.stopping.remote()):
                    return ending
    except UserError as error:
        return Ending(mistake=str(error))
    return Ending()


def _fit_once(assignment: Assignment, callbacks: tuple[ray.train.UserCallback, ...]) -> Ending:
    # Between the controller's looks at its workers; Ray's 2 seconds are lost after each failure.
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")
    cluster = assignment.cluster
    resources: dict[str, Any] = {"CPU": cluster.cpus_per_worker}
    if cluster.gpu:
        resources["GPU"] = cluster.gpus_per_worker
    # Ray Train wants a folder for its own records, of which nothing here depends: what a run needs
    # to go on lies in our storage.
    with _own_sigint(), scratch() as records:
        trainer = DataParallelTrainer(
            _work,
            train_loop_config={"assignment": assignment},
            backend_config=KerasConfig(),
            scaling_config=ray.train.ScalingConfig(
                num_workers=scale(assignment.training, cluster),
                elastic_resize_monitor_interval_s=cluster.resize_every,
                use_gpu=cluster.gpu,
                resources_per_worker=resources,
            ),
            run_config=ray.train.RunConfig(
                name=assignment.id,
                storage_path=str(records),
                callbacks=list(callbacks),
                failure_config=ray.train.FailureConfig(max_failures=cluster.max_failures),
            ),
        )
        try:
            return trainer.fit().return_value
        except ray.train.TrainingFailedError:
            if mistake := ray.get(assignment.board.failure.remote()):
                return Ending(mistake=mistake)
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


def _work(config: dict[str, Assignment]) -> Ending:
    begin = time.perf_counter()
    import_tensorflow(gpu=config["assignment"].cluster.gpu)
    from fmnist.worker import work  # workers alone hold a model

    return work(config["assignment"], begin)
