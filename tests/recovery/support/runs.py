"""A training run that tests disturb: its data, its settings, and its expected results."""

import json
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster as RayCluster

from fmnist.data.dataset import Dataset
from fmnist.run_settings import Cluster, Training
from fmnist.runs.ids import run_folder, run_id
from fmnist.storage.manifest import Manifest
from fmnist.storage.open import Storage, open_storage
from fmnist.training.run import train
from tests.support import samples
from tests.support.servers.cluster import processes
from tests.support.waiting import wait

# With dropout and augmentation, so that a resumed epoch is not the same by chance.
TRAINING = Training(
    batch=8, epochs=4, learning_rate=1e-3, augmentation="flip", workers=2, activation="tanh"
)
CLUSTER = Cluster(cpus_per_worker=1, keep_checkpoints=9)
MEASURED = {"seconds", "images_per_second"}


def images() -> Dataset:
    """Makes 260 random images to train on and hold out (30 steps an epoch), and 40 to test on.

    They are small, since two ranks of the `cnn` exchange gradients as large as its dense layer.
    """
    return samples.dataset(replace(samples.SHAPES, shape=(8, 8, 3)), train=260, test=40)


def run(dataset: Dataset, uri: str, cluster: Cluster = CLUSTER) -> Manifest:
    return train(dataset, TRAINING, cluster, open_storage(uri), command="a test")


def folder(dataset: Dataset) -> str:
    return run_folder(run_id(dataset.task, TRAINING, dataset.fingerprint))


def checkpoints(storage: Storage, dataset: Dataset) -> list[str]:
    """Returns the names of the complete checkpoints."""
    found = [key.split("/") for key in storage.keys(f"{folder(dataset)}/checkpoints")]
    return sorted(parts[-2] for parts in found if parts[-1] == "manifest.json")


def outcome(uri: str, dataset: Dataset) -> dict[str, Any]:
    """Returns the exact content of a published run, without times."""
    storage = open_storage(uri)
    manifest = json.loads(storage.read(f"{folder(dataset)}/manifest.json"))
    keys = storage.keys(f"{folder(dataset)}/checkpoints/{TRAINING.epochs:05d}")
    (variables,) = [key for key in keys if key.endswith(".npz")]
    (progress,) = [key for key in keys if key.endswith("progress.json")]
    history = json.loads(storage.read(progress))["history"]
    metrics = manifest["files"]["metrics.json"]["path"]
    return {
        "variables": storage.digest(variables).sha256,
        "history": [{k: v for k, v in row.items() if k not in MEASURED} for row in history],
        "metrics": json.loads(storage.read(f"{folder(dataset)}/{metrics}")),
    }


class Disturbed:
    """Trains in the background, so that the test can disturb it meanwhile."""

    def __init__(self, dataset: Dataset, uri: str, cluster: Cluster = CLUSTER) -> None:
        self._dataset, self._storage = dataset, open_storage(uri)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._train, args=(uri, cluster), daemon=True)
        self._thread.start()

    def wait_for(self, checkpoint: str) -> None:
        """Waits until this checkpoint exists."""
        wait(lambda: checkpoint in checkpoints(self._storage, self._dataset) or self._over())
        assert not self._over(), f"the run ended before checkpoint {checkpoint}: {self._error}"

    def end(self) -> None:
        """Waits until the run has ended with success."""
        self._thread.join(timeout=200)
        assert not self._thread.is_alive(), "the run did not end"
        if self._error:
            raise self._error

    def _over(self) -> bool:
        return not self._thread.is_alive()

    def _train(self, uri: str, cluster: Cluster) -> None:
        try:
            run(self._dataset, uri, cluster)
        except BaseException as error:
            self._error = error


def pause(processes: list[int], until: Callable[[], Any]) -> None:
    """Stops these processes for a while, as if their machine had paused; they may die meanwhile."""
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        wait(until)
    finally:
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)


def workers(cluster: RayCluster) -> list[int]:
    """Returns the processes of the two ranks; rank 0 is the one that wrote most (checkpoints)."""
    found = processes(cluster.list_all_nodes(), "RayTrainWorker")
    assert len(found) == TRAINING.workers
    return sorted(found, key=_written, reverse=True)


def _written(process: int) -> int:
    (line,) = [
        line
        for line in Path(f"/proc/{process}/io").read_text().splitlines()
        if line.startswith("wchar")
    ]
    return int(line.split()[1])
