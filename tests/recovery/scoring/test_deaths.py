"""Actors, nodes and drivers die while they score."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from fmnist.data.formats.parquet import write_part
from fmnist.errors import UserError
from fmnist.runs.published import PublishedModel
from fmnist.scoring.inputs import find_inputs
from fmnist.scoring.predictions import CollectedLabels, list_label_files
from fmnist.scoring.run import score
from fmnist.storage.manifest import read_manifest
from fmnist.storage.open import Storage, open_storage
from tests.support.paths import ROOT
from tests.support.predictions import check_against, folder_of, labels_of
from tests.support.samples import SHAPES, examples
from tests.support.servers.cluster import STORE, processes
from tests.support.waiting import wait

pytestmark = pytest.mark.usefixtures("ray_cluster")
MANY = examples(SHAPES, 24_000, seed=1)  # enough that there is time to kill something
SCORING = "MapBatches(ScoringActor)).submit"  # the title of a scoring actor that is at work

# Another driver on the same cluster.
DRIVER = """
import sys, ray
from fmnist.scoring.inputs import find_inputs
from fmnist.runs.published import open_model
from fmnist.scoring.run import score
from fmnist.storage.open import open_storage
from tests.support.samples import SHAPES
address, storage, data = sys.argv[1:]
ray.init(address=address, log_to_driver=False)
storage = open_storage(storage)
score(model=open_model(storage, "runs/r1", SHAPES), inputs=find_inputs(SHAPES, data),
      storage=storage, actors=1, rows_per_file=2_000)
assert "tensorflow" not in sys.modules
"""


@pytest.fixture(scope="module")
def undisturbed(network: Any) -> dict[int, int]:
    """Returns the labels of MANY."""
    return labels_of(network, MANY)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory, ray_cluster: Cluster) -> str:
    """Writes MANY as a Parquet data set."""
    folder = tmp_path_factory.mktemp("many")
    write_part(MANY, *open_storage(str(folder)).arrow("test"))
    return str(folder)


def start_driver(storage: Storage, data: str) -> subprocess.Popen[bytes]:
    address = ray.get_runtime_context().gcs_address
    return subprocess.Popen([sys.executable, "-c", DRIVER, address, storage.uri, data], cwd=ROOT)


def wait_for_labels(storage: Storage, prefix: str, files: int = 1) -> None:
    wait(lambda: len(list_label_files(storage, prefix)) >= files)


@contextmanager
def disturbed(
    storage: Storage, prefix: str, nodes: Iterable[Any], act: Callable[[int], None]
) -> Iterator[None]:
    """Calls `act` with the process of an actor on these nodes, once it scores during the block."""
    done: list[bool] = []

    def watch() -> None:
        act(wait(lambda: processes(list(nodes), SCORING))[0])
        done.append(read_manifest(storage, prefix) is None)

    thread = threading.Thread(target=watch)
    thread.start()
    yield
    thread.join()
    assert done == [True], "what dies should die before the result is published"


def test_a_killed_driver_goes_on_with_what_is_not_scored(
    ray_cluster: Cluster,
    storage: Storage,
    model: PublishedModel,
    many: str,
    undisturbed: dict[int, int],
) -> None:
    inputs = find_inputs(SHAPES, many)
    prefix = folder_of(model, inputs)
    with start_driver(storage, many) as driver:
        wait_for_labels(storage, prefix, files=2)
        # It starts the work, and goes on until Ray has seen that the driver died.
        (supervisor,) = processes(ray_cluster.list_all_nodes(), "Supervisor")
        os.kill(supervisor, signal.SIGSTOP)
        driver.kill()
    assert read_manifest(storage, prefix) is None
    storage.write(f"{prefix}/labels/unfinished.parquet", b"PAR1 and no footer")
    found = CollectedLabels(ids=inputs.ids, classes=4)
    found.add_files(storage, prefix, list_label_files(storage, prefix))

    manifest = score(model=model, inputs=inputs, storage=storage, actors=2)
    assert 0 < found.scored().sum() <= manifest.details["taken_over"] < len(MANY)
    assert set(found.names) <= manifest.files.keys()
    again = CollectedLabels(ids=inputs.ids, classes=4)
    own = [
        name for name in manifest.files if name.startswith("labels/") and name not in found.names
    ]
    assert again.add_files(storage, prefix, own) == []
    assert not (again.scored() & found.scored()).any()
    check_against(storage, manifest, undisturbed)


def test_of_two_drivers_at_once_one_scores_and_the_other_waits(
    storage: Storage,
    model: PublishedModel,
    many: str,
    undisturbed: dict[int, int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    inputs = find_inputs(SHAPES, many)
    prefix = folder_of(model, inputs)
    with start_driver(storage, many) as other:
        wait(lambda: storage.read_version(f"{prefix}/lease.json") is not None)
        manifest = score(model=model, inputs=inputs, storage=storage, actors=1)
        assert other.wait() == 0
    assert read_manifest(storage, prefix) == manifest
    assert "waiting for another job that does the same" in caplog.text
    assert manifest.details["taken_over"] == 0
    check_against(storage, manifest, undisturbed)


def test_a_killed_actor_is_replaced_and_changes_nothing(
    ray_cluster: Cluster,
    storage: Storage,
    model: PublishedModel,
    many: str,
    undisturbed: dict[int, int],
) -> None:
    inputs = find_inputs(SHAPES, many)
    nodes = ray_cluster.list_all_nodes()

    def kill(actor: int) -> None:
        os.kill(actor, signal.SIGKILL)

    with disturbed(storage, folder_of(model, inputs), nodes, kill):
        # An actor on each CPU, so that none is left for the tasks that read the data.
        manifest = score(model=model, inputs=inputs, storage=storage, actors=4, rows_per_file=2_000)
    check_against(storage, manifest, undisturbed)


def test_a_node_that_leaves_changes_nothing(
    ray_cluster: Cluster,
    storage: Storage,
    model: PublishedModel,
    many: str,
    undisturbed: dict[int, int],
) -> None:
    """At least one of three actors is on the node that leaves, as each node has two CPUs."""
    inputs = find_inputs(SHAPES, many)
    (node,) = ray_cluster.worker_nodes

    def leave(_: int) -> None:
        ray_cluster.remove_node(node, allow_graceful=False)

    try:
        with disturbed(storage, folder_of(model, inputs), [node], leave):
            manifest = score(
                model=model, inputs=inputs, storage=storage, actors=3, rows_per_file=2_000
            )
    finally:  # for the tests that come after
        ray_cluster.add_node(num_cpus=2, num_gpus=1, object_store_memory=STORE)
    check_against(storage, manifest, undisturbed)


@pytest.mark.parametrize("storage_uri", ["folder"], indirect=True)
def test_actors_that_die_each_time_end_the_job(
    ray_cluster: Cluster, storage: Storage, model: PublishedModel, many: str
) -> None:
    """Actors are killed before they have scored a block: importing TensorFlow takes seconds."""
    inputs = find_inputs(SHAPES, many)
    nodes = ray_cluster.list_all_nodes()
    over = threading.Event()

    def kill() -> None:
        while not over.wait(0.05):
            for actor in processes(nodes, SCORING):
                os.kill(actor, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        with pytest.raises(UserError, match=r"scoring parquet at .* a process died 5 times"):
            score(model=model, inputs=inputs, storage=storage, actors=1)
    finally:
        over.set()
        thread.join()
    assert read_manifest(storage, folder_of(model, inputs)) is None
