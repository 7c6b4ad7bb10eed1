"""Parts of a training die, and its result is still that of an undisturbed run."""

import os
import signal
from pathlib import Path

import pytest
import ray

from fmnist.storage.open import open_storage
from tests.recovery.support.runs import (
    Disturbed,
    checkpoints,
    folder,
    outcome,
    run,
    workers,
)
from tests.support.servers.cluster import processes


@pytest.fixture
def taken(ray_cluster):
    """Reserves CPUs, so that a run cannot move to other nodes."""
    groups = []

    def taken(bundles):
        groups.append(ray.util.placement_group(bundles))
        ray.get(groups[-1].ready())

    def free():
        while groups:
            ray.util.remove_placement_group(groups.pop())

    taken.free = free
    yield taken
    free()


def test_workers_and_the_controller_are_killed(
    ray_cluster, taken, small, undisturbed, storage_uri, capfd
):
    """Kills rank 0 in the second epoch, rank 1 in the third, the controller in the fourth."""
    taken([{"CPU": 1}] * 2)
    disturbed = Disturbed(small, storage_uri)
    disturbed.wait_for("00001")
    os.kill(workers(ray_cluster)[0], signal.SIGKILL)
    disturbed.wait_for("00002")
    os.kill(workers(ray_cluster)[1], signal.SIGKILL)
    disturbed.wait_for("00003")
    (controller,) = processes(ray_cluster.list_all_nodes(), "RunController")
    # Not even to read the errors of the rank that was left.
    assert "tensorflow" not in Path(f"/proc/{controller}/maps").read_text()
    os.kill(controller, signal.SIGKILL)
    disturbed.end()
    assert outcome(storage_uri, small) == undisturbed[1]
    out = capfd.readouterr().out
    for epoch in (1, 2):
        assert f"training again after epoch {epoch}, step 0; " in out
    # Ray ends the workers of a dead controller by SIGTERM, so they may save within the epoch.
    assert "training again after epoch 3, step " in out
    print(out)  # time from failure to training again; printed for people


def test_a_worker_is_given_notice_and_a_node_leaves(
    ray_cluster, taken, small, undisturbed, storage_uri, capfd
):
    """After SIGTERM, both workers resume within the epoch. Later their node is killed.

    All other CPUs are reserved until this node leaves, so that both workers are on it.
    """
    taken([{"CPU": 2}] * 2)
    leaving = ray_cluster.add_node(num_cpus=2, object_store_memory=2**27)
    disturbed = Disturbed(small, storage_uri)
    disturbed.wait_for("00001")
    os.kill(workers(ray_cluster)[1], signal.SIGTERM)
    disturbed.wait_for("00002")
    assert any("." in name for name in checkpoints(open_storage(storage_uri), small))
    assert len(processes([leaving], "RayTrainWorker")) == 2
    taken.free()
    ray_cluster.remove_node(leaving, allow_graceful=False)
    disturbed.end()
    assert capfd.readouterr().out.count("training again after epoch") >= 2
    assert outcome(storage_uri, small) == undisturbed[1]


@pytest.fixture
def unfinished(small, undisturbed, storage_uri):
    """Returns the storage of a run that ended after three epochs, with its checkpoints."""
    storage, root = open_storage(storage_uri), undisturbed[0]
    for path in sorted((root / folder(small)).rglob("*")):
        if path.is_file():
            storage.write(str(path.relative_to(root)), path.read_bytes())
    storage.delete(f"{folder(small)}/manifest.json")
    storage.delete(f"{folder(small)}/checkpoints/00004")
    return storage


def test_the_newest_checkpoint_is_damaged(
    small, undisturbed, unfinished, storage_uri, capfd, caplog
):
    (key,) = [
        key for key in unfinished.keys(f"{folder(small)}/checkpoints/00003") if key.endswith(".npz")
    ]
    unfinished.write(key, unfinished.read(key)[:-100] + bytes(100))
    run(small, storage_uri)
    assert outcome(storage_uri, small) == undisturbed[1]
    assert "checkpoint 00003 is damaged and not used" in caplog.text
    assert "going on after epoch 2, step 0" in capfd.readouterr().out


def test_the_same_run_twice_at_once(small, undisturbed, unfinished, storage_uri, capfd):
    """One job trains; the other one waits for it and finds its result."""
    first, second = Disturbed(small, storage_uri), Disturbed(small, storage_uri)
    first.end()
    second.end()
    assert outcome(storage_uri, small) == undisturbed[1]
    out = capfd.readouterr().out
    assert out.count("waiting for another job that does the same") == 1
    assert out.count("epoch 4/4") == 1
