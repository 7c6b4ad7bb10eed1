import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads
import pytest
import ray
from pyarrow import parquet as pq

from fmnist.dataset import Examples
from fmnist.errors import UserError
from fmnist.inference import Classifier
from fmnist.inputs import find_inputs, from_examples
from fmnist.manifest import Manifest, read_manifest
from fmnist.parquet import write_part
from fmnist.predictions import Collected, label_files, submission
from fmnist.published import open_model
from fmnist.scoring import predictions_folder, predictions_id, score
from fmnist.storage import Storage, open_storage
from tests.models import convolutional, publish_run
from tests.samples import SHAPES, examples

pytestmark = pytest.mark.usefixtures("ray_cluster")

FEW = examples(SHAPES, 7_000)
MANY = examples(SHAPES, 24_000, seed=1)  # enough that there is time to kill something

# Another driver on the same cluster.
DRIVER = """
import sys, ray
from fmnist.inputs import find_inputs
from fmnist.published import open_model
from fmnist.scoring import score
from fmnist.storage import open_storage
from tests.samples import SHAPES
address, storage, data = sys.argv[1:]
ray.init(address=address, log_to_driver=False)
storage = open_storage(storage)
score(model=open_model(storage, "runs/r1", SHAPES), inputs=find_inputs(SHAPES, data),
      storage=storage, actors=1, rows_per_file=2_000)
assert "tensorflow" not in sys.modules
"""


@pytest.fixture(scope="module")
def model() -> Any:
    return convolutional(SHAPES)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, model: Any) -> Storage:
    """A folder with the model's run."""
    folder = tmp_path_factory.mktemp("scoring")
    storage = open_storage(str(folder / "results"))
    publish_run(storage, folder / "model", model, SHAPES)
    return storage


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> str:
    """MANY as a Parquet data set."""
    folder = tmp_path_factory.mktemp("many")
    system, path = open_storage(str(folder)).arrow("test")
    write_part(MANY, system, path)
    return str(folder)


def labels_of(model: Any, images: Examples) -> dict[int, int]:
    labels = Classifier(model)(images.images).argmax(axis=1)
    return dict(zip(images.ids.tolist(), labels.tolist(), strict=True))


def csv_of(labels: dict[int, int]) -> bytes:
    lines = [f"{number},{labels[number]}\n" for number in sorted(labels)]
    return "".join(["Id,Label\n", *lines]).encode()


def read(storage: Storage, manifest: Manifest) -> tuple[bytes, Any]:
    """The submission, and the labels' table ordered by id."""
    prefix = predictions_folder(manifest.id)
    system, path = storage.arrow(f"{prefix}/labels")
    table = pads.dataset(path, filesystem=system, format="parquet").to_table()
    return storage.read(f"{prefix}/submission.csv"), table.sort_by("id")


def check_against(storage: Storage, manifest: Manifest, expected: dict[int, int]) -> None:
    """One row for each id, the right label in both forms, and no file that is not published."""
    csv, table = read(storage, manifest)
    assert csv == csv_of(expected)
    assert table["id"].to_pylist() == sorted(expected)
    assert dict(zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True)) == expected
    prefix = predictions_folder(manifest.id)
    files = {f"{prefix}/{name}" for name in [*manifest.files, "manifest.json"]}
    assert set(storage.keys(prefix)) == files


def test_results_depend_neither_on_actors_nor_on_source_nor_on_storage(
    root: Storage, model: Any, s3_uri: str, tmp_path: Path
) -> None:
    bucket = open_storage(s3_uri)
    publish_run(bucket, tmp_path / "model", model, SHAPES)
    write_part(FEW, *bucket.arrow("data/test"))
    memory = from_examples(FEW, source="memory")
    first = score(
        model=open_model(root, "runs/r1", SHAPES),
        inputs=memory,
        storage=root,
        actors=3,
        probabilities=True,
        rows_per_file=1_000,
    )
    files = find_inputs(SHAPES, f"{s3_uri}/data")
    second = score(
        model=open_model(bucket, "runs/r1", SHAPES),
        inputs=files,
        storage=bucket,
        actors=1,
        probabilities=True,
    )
    expected = labels_of(model, FEW)
    check_against(root, first, expected)
    check_against(bucket, second, expected)
    one, two = read(root, first)[1], read(bucket, second)[1]
    assert one["probabilities"].combine_chunks().equals(two["probabilities"].combine_chunks())
    assert set(one["model"].to_pylist()) == {"r1"}
    sums = np.array(one["probabilities"].to_pylist()).sum(axis=1)
    np.testing.assert_allclose(sums, 1, rtol=1e-5)
    assert len(first.files) > len(second.files) == 2
    assert first.details["dataset"]["fingerprint"] == files.fingerprint

    before = {key: bucket.read_version(key) for key in bucket.keys("")}
    again = score(
        model=open_model(bucket, "runs/r1", SHAPES),
        inputs=files,
        storage=bucket,
        probabilities=True,
    )
    assert again == second
    assert {key: bucket.read_version(key) for key in bucket.keys("")} == before


def start_driver(storage: Storage, data: str) -> subprocess.Popen[bytes]:
    address = ray.get_runtime_context().gcs_address
    command = [sys.executable, "-c", DRIVER, address, storage.uri, data]
    return subprocess.Popen(command, cwd=Path(__file__).parent.parent)


def wait_for_labels(storage: Storage, prefix: str, files: int = 1) -> list[str]:
    deadline = time.monotonic() + 120
    while len(names := label_files(storage, prefix)) < files:
        assert time.monotonic() < deadline, "no file of labels was written"
        time.sleep(0.02)
    return names


def test_a_killed_driver_goes_on_with_what_is_not_scored(
    root: Storage, model: Any, many: str
) -> None:
    published, inputs = open_model(root, "runs/r1", SHAPES), find_inputs(SHAPES, many)
    prefix = predictions_folder(predictions_id(published, inputs, probabilities=False))
    with start_driver(root, many) as driver:
        wait_for_labels(root, prefix, files=2)
        driver.kill()
    assert read_manifest(root, prefix) is None
    root.write(f"{prefix}/labels/unfinished.parquet", b"PAR1 and no footer")
    found = Collected(ids=inputs.ids, classes=4)
    found.take_over(root, prefix, label_files(root, prefix))

    manifest = score(model=published, inputs=inputs, storage=root, actors=2)
    assert 0 < len(found.scored()) <= manifest.details["taken_over"] < len(MANY)
    assert set(found.names) <= manifest.files.keys()
    check_against(root, manifest, labels_of(model, MANY))


def test_two_drivers_at_once_publish_one_result(model: Any, many: str, tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path / "results"))
    publish_run(storage, tmp_path / "model", model, SHAPES)
    published, inputs = open_model(storage, "runs/r1", SHAPES), find_inputs(SHAPES, many)
    prefix = predictions_folder(predictions_id(published, inputs, probabilities=False))
    with start_driver(storage, many) as other:
        wait_for_labels(storage, prefix)
        manifest = score(model=published, inputs=inputs, storage=storage, actors=1)
        assert other.wait(timeout=200) == 0
    assert read_manifest(storage, prefix) == manifest
    check_against(storage, manifest, labels_of(model, MANY))


def scorers() -> list[int]:
    """Processes of scoring actors that belong to the Ray of this test session."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            title = (path / "cmdline").read_bytes()
            raylet = (path / "stat").read_text().rpartition(")")[2].split()[1]
            starter = Path("/proc", raylet, "stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
        if b"MapBatches(Scorer)" in title and int(starter) == os.getpid():
            found.append(int(path.name))
    return found


def test_a_killed_actor_is_replaced_and_changes_nothing(
    model: Any, many: str, tmp_path: Path
) -> None:
    storage = open_storage(str(tmp_path / "results"))
    publish_run(storage, tmp_path / "model", model, SHAPES)
    published, inputs = open_model(storage, "runs/r1", SHAPES), find_inputs(SHAPES, many)
    prefix = predictions_folder(predictions_id(published, inputs, probabilities=False))
    killed: list[int] = []

    def kill() -> None:
        wait_for_labels(storage, prefix)
        killed.extend(scorers()[:1])
        os.kill(killed[0], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    # One on each CPU, so that nothing is left for whatever feeds them.
    manifest = score(model=published, inputs=inputs, storage=storage, actors=4, rows_per_file=2_000)
    thread.join()
    assert killed and killed[0] not in scorers()
    check_against(storage, manifest, labels_of(model, MANY))


@pytest.mark.parametrize("actors", [0, 5])
def test_more_actors_than_cpus_are_refused_at_once(root: Storage, actors: int) -> None:
    inputs = from_examples(FEW, source="memory")
    with pytest.raises(UserError, match=rf"found {actors} scoring actors .* expected 1 to 4"):
        score(model=open_model(root, "runs/r1", SHAPES), inputs=inputs, storage=root, actors=actors)


def test_a_model_that_does_not_keep_to_its_manifest_is_refused(tmp_path: Path, model: Any) -> None:
    storage = open_storage(str(tmp_path / "results"))
    wider = dataclasses.replace(SHAPES, classes=(*SHAPES.classes, "cross"))
    publish_run(storage, tmp_path / "model", model, wider)
    inputs = from_examples(examples(wider, 10), source="memory")
    with pytest.raises(UserError, match=r"^run r1: its model .* has 4 classes, .* and 5$"):
        score(model=open_model(storage, "runs/r1", wider), inputs=inputs, storage=storage, actors=1)
    assert not storage.keys("predictions")


def test_only_files_that_fit_are_taken_over(tmp_path: Path) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    contents = {
        "first": ([1, 5], [0, 1]),
        "again": ([5, 9], [1, 1]),
        "stranger": ([8, 9], [0, 0]),
        "beyond": ([9, 11], [0, 0]),
        "range": ([9], [2]),
        "negative": ([9], [-1]),
        "twice": ([9, 9], [1, 1]),
        "last": ([9], [1]),
    }
    for name, (ids, labels) in contents.items():
        pq.write_table(pa.table({"id": ids, "label": labels}), folder / name)
    (folder / "half").write_bytes((folder / "first").read_bytes()[:-9])
    pq.write_table(pa.table({"number": [9]}), folder / "columns")
    collected = Collected(ids=np.array([1, 5, 9]), classes=2)
    names = ["half", "columns", "gone", *contents]
    unfit = collected.take_over(open_storage(str(tmp_path)), "p", names)
    assert collected.names == ["first", "last"]
    assert unfit == [name for name in names if name not in collected.names]
    np.testing.assert_array_equal(collected.labels, [0, 1, 1])


def test_a_submission_is_what_the_competition_wants() -> None:
    assert submission(np.array([0, 7, 10]), np.array([3, 0, 4])) == b"Id,Label\n0,3\n7,0\n10,4\n"
