"""Training with a range of workers uses all nodes, also those that come and go."""

import json
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from fmnist.run_settings import Cluster, Training
from fmnist.runs.ids import run_folder, run_id
from fmnist.storage.open import open_storage
from fmnist.training.run import train
from tests.recovery.support.runs import pause
from tests.support import samples
from tests.support.servers.cluster import STORE, processes
from tests.support.waiting import wait

# Without dropout, and by SGD, whose steps are as large as the gradients: so that the losses do not
# depend on the number of workers by more than rounding.
FIXED = Training(
    architecture="dense", optimizer="sgd", learning_rate=1e-3, batch=8, epochs=24, workers=1
)
ELASTIC = replace(FIXED, workers="1:3")
# A GPU is an emulated one here, and keeps the workers to the nodes that the test adds and removes.
CLUSTER = Cluster(cpus_per_worker=1, gpu=True, resize_every=1)


def history(storage, dataset, training):
    folder = run_folder(run_id(dataset.task, training, dataset.fingerprint))
    keys = storage.keys(f"{folder}/checkpoints/{training.epochs:05d}")
    (progress,) = [key for key in keys if key.endswith("progress.json")]
    return json.loads(storage.read(progress))["history"]


def newest(storage, dataset):
    """Returns the last epoch that has a checkpoint."""
    folder = run_folder(run_id(dataset.task, ELASTIC, dataset.fingerprint))
    found = [key.split("/") for key in storage.keys(f"{folder}/checkpoints")]
    return max((int(key[-2][:5]) for key in found if key[-1] == "manifest.json"), default=0)


def check_losses(rows, fixed):
    """Compares the losses with those of a constant number of workers.

    A lost or repeated epoch would shift all later ones.

    Once the number of workers has changed, rounding differs, and the difference grows.
    """
    ours, theirs = ([row["loss"] for row in each] for each in (rows, fixed))
    assert ours == pytest.approx(theirs, rel=1e-2)
    for epoch, loss in enumerate(ours):
        distances = [abs(loss - other) for other in theirs]
        assert distances.index(min(distances)) == epoch, f"epoch {epoch + 1}"


def test_workers_follow_the_nodes(ray_cluster, tmp_path):
    """A run of up to three GPUs has one; then a second node comes, and leaves again.

    Ray looks at its nodes every 20 s. The one worker is paused until Ray replaces it by two, which
    spares epochs.
    """
    dataset, storage = samples.dataset(train=800), open_storage(str(tmp_path))
    failed = []

    def run():
        try:
            train(dataset, ELASTIC, CLUSTER, storage, command="a test")
        except BaseException as error:
            failed.append(error)

    def workers(count):
        """Waits until so many workers have trained at least one epoch."""

        def there():
            assert thread.is_alive(), failed or "the run has ended"
            return len(processes(ray_cluster.list_all_nodes(), "RayTrainWorker")) == count

        begin = time.monotonic()
        wait(there)
        seen = newest(storage, dataset)
        wait(lambda: there() and newest(storage, dataset) >= seen + 2)
        print(f"{count} workers have trained after {time.monotonic() - begin:.1f} s")

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    workers(1)
    (only,) = processes(ray_cluster.list_all_nodes(), "RayTrainWorker")
    os.kill(only, signal.SIGSTOP)  # or it would train on while the node starts
    more = ray_cluster.add_node(num_cpus=1, num_gpus=1, object_store_memory=STORE)
    pause([only], lambda: not Path(f"/proc/{only}").exists())
    workers(2)
    ray_cluster.remove_node(more, allow_graceful=False)
    workers(1)
    thread.join(timeout=250)
    assert not failed
    rows = history(storage, dataset, ELASTIC)
    assert [row["epoch"] for row in rows] == list(range(1, FIXED.epochs + 1))
    cluster = replace(CLUSTER, checkpoint_every=FIXED.epochs)
    train(dataset, FIXED, cluster, storage, command="a test")
    check_losses(rows, history(storage, dataset, FIXED))
