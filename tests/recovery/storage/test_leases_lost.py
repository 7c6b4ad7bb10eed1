"""A paused job loses its lease to another job, and stops when it notices that."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from fmnist.data.dataset import Dataset
from fmnist.data.formats.parquet import write_part
from fmnist.runs.published import open_model
from fmnist.scoring.inputs import find_inputs
from fmnist.scoring.job import predictions_id
from fmnist.scoring.predictions import list_label_files, predictions_folder
from fmnist.storage.manifest import read_manifest
from fmnist.storage.open import open_storage
from tests.recovery.support.runs import checkpoints, folder, outcome, pause, workers
from tests.support.models import convolutional, publish_run
from tests.support.paths import ROOT
from tests.support.predictions import check_against, labels_of
from tests.support.samples import SHAPES, examples
from tests.support.waiting import wait

TRAINS = """
from fmnist.training.spec import RunContext, RunSpec
from fmnist.training.splits import put_splits
from fmnist.training.progress import show_progress
from tests.recovery.support.runs import CLUSTER, TRAINING, images
@ray.remote(num_cpus=0)
class Controller:
    def fit(self, *arguments):
        from fmnist.training.controller import fit
        lease.HEARTBEAT, lease.EXPIRY = 0.2, 6.0
        return fit(*arguments)
data = images()
splits = put_splits(data, TRAINING.validation)
job = RunSpec.of(data, TRAINING, CLUSTER, storage, command="a test", splits=splits)
with show_progress("a run", TRAINING.epochs) as monitor:
    print(ray.get(Controller.remote().fit.remote(job, RunContext(monitor=monitor))))
"""
SCORES = """
from fmnist.scoring.inputs import find_inputs
from fmnist.runs.published import open_model
from fmnist.scoring.run import score
from tests.support.samples import SHAPES
model, inputs = open_model(storage, "runs/r1", SHAPES), find_inputs(SHAPES, f"{storage.uri}/data")
score(model=model, inputs=inputs, storage=storage, actors=1, rows_per_file=2_000)
"""
BEGIN = """
import logging, sys, ray
from fmnist.storage import lease
from fmnist.storage.open import open_storage
lease.HEARTBEAT, lease.EXPIRY = 0.2, 6.0
logging.basicConfig(format="%(message)s", stream=sys.stdout)
ray.init(address=sys.argv[1], log_to_driver=False)
storage = open_storage(sys.argv[2])
"""
Start = Callable[[str, str], subprocess.Popen[str]]


@pytest.fixture
def start(ray_cluster: Cluster) -> Iterator[Start]:
    """Starts a driver on the cluster, and ends it with the test."""
    with ExitStack() as stack:

        def start(script: str, uri: str) -> subprocess.Popen[str]:
            address = ray.get_runtime_context().gcs_address
            command = [sys.executable, "-c", BEGIN + script, address, uri]
            driver = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
            stack.enter_context(driver)
            stack.callback(driver.kill)
            return driver

        yield start


def waits(driver: subprocess.Popen[str]) -> None:
    """Waits until the job says that it waits."""
    assert driver.stdout is not None
    assert any("waiting for another job" in line for line in driver.stdout), "it ended instead"


def ended(driver: subprocess.Popen[str]) -> str:
    out = driver.communicate()[0]
    assert driver.returncode == 0, out
    return out


def test_training_that_was_paused_gives_way_and_finds_the_result(
    ray_cluster: Cluster,
    small: Dataset,
    undisturbed: tuple[Path, dict[str, Any]],
    storage_uri: str,
    start: Start,
) -> None:
    storage, lease = open_storage(storage_uri), f"{folder(small)}/lease.json"

    def holder() -> int:
        return int(json.loads(storage.read(lease))["pid"])

    first = start(TRAINS, storage_uri)
    wait(lambda: storage.read_version(lease) is not None)
    controller = holder()
    second = start(TRAINS, storage_uri)
    waits(second)
    wait(lambda: "00001" in checkpoints(storage, small))
    ranks = workers(ray_cluster)

    def told() -> bool:
        """Lets the paused driver go on, and waits until it knows: its ranks would end meanwhile."""
        pause([first.pid, controller], lambda: holder() != controller)
        assert first.stdout is not None
        return any("another job took over" in line for line in first.stdout)

    pause(ranks, told)
    out, other = ended(first), ended(second)
    assert "waiting for another job" in out
    assert "epoch 4/4" in other and "epoch 4/4" not in out
    assert outcome(storage_uri, small) == undisturbed[1]
    assert storage.read_version(lease) is None


def test_scoring_that_was_paused_gives_way_and_finds_the_result(
    storage_uri: str, start: Start, tmp_path: Path
) -> None:
    network, images = convolutional(SHAPES), examples(SHAPES, 24_000, seed=1)
    storage = open_storage(storage_uri)
    publish_run(storage, tmp_path / "model", network, SHAPES)
    write_part(images, *storage.arrow("data/test"))
    model, inputs = (
        open_model(storage, "runs/r1", SHAPES),
        find_inputs(SHAPES, f"{storage_uri}/data"),
    )
    prefix = predictions_folder(predictions_id(model, inputs))
    lease = f"{prefix}/lease.json"

    def holder() -> int | None:
        found = storage.read_version(lease)
        return found and json.loads(found[0])["pid"]

    first = start(SCORES, storage_uri)
    wait(lambda: storage.read_version(lease) is not None)
    second = start(SCORES, storage_uri)
    waits(second)
    # The actors of the paused driver may have labelled everything, so that the second ends at once.
    pause([first.pid], lambda: holder() != first.pid)
    out = ended(first)
    ended(second)
    assert "another job took over" in out
    manifest = read_manifest(storage, prefix)
    assert manifest is not None
    check_against(storage, manifest, labels_of(network, images))
    assert {name for name in manifest.files if "/" in name} == set(
        list_label_files(storage, prefix)
    )
    assert storage.read_version(lease) is None
