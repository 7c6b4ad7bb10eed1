import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from fmnist.data.formats.parquet import write_part
from fmnist.errors import UserError
from fmnist.runs.published import open_model
from fmnist.scoring.inputs import find_inputs, from_examples
from fmnist.scoring.predictions import CollectedLabels, to_submission
from fmnist.scoring.run import score
from fmnist.scoring.settings import PredictionSettings
from fmnist.storage.open import Storage, open_storage
from tests.support.models import convolutional, publish_run
from tests.support.predictions import check_against, labels_of, read
from tests.support.samples import SHAPES, examples

pytestmark = pytest.mark.usefixtures("ray_cluster")

FEW = examples(SHAPES, 7_000)


@pytest.fixture(scope="module")
def model() -> Any:
    return convolutional(SHAPES)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, model: Any) -> Storage:
    """A storage with the model's run."""
    folder = tmp_path_factory.mktemp("scoring")
    storage = open_storage(str(folder / "results"))
    publish_run(storage, folder / "model", model, SHAPES)
    return storage


def test_results_depend_neither_on_actors_nor_on_source_nor_on_storage(
    root: Storage, model: Any, s3_uri: str, tmp_path: Path
) -> None:
    bucket = open_storage(s3_uri)
    publish_run(bucket, tmp_path / "model", model, SHAPES)
    write_part(FEW, *bucket.arrow("data/test"))
    with_probabilities = partial(score, settings=PredictionSettings(probabilities=True))
    memory, published = from_examples(FEW, source="memory"), open_model(root, "runs/r1", SHAPES)
    first = with_probabilities(
        model=published, inputs=memory, storage=root, actors=3, rows_per_file=1_000
    )
    files, published = find_inputs(SHAPES, f"{s3_uri}/data"), open_model(bucket, "runs/r1", SHAPES)
    second = with_probabilities(model=published, inputs=files, storage=bucket, actors=1)
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
    published = open_model(bucket, "runs/r1", SHAPES)
    assert with_probabilities(model=published, inputs=files, storage=bucket) == second
    assert {key: bucket.read_version(key) for key in bucket.keys("")} == before


@pytest.mark.parametrize(
    ("actors", "cpus", "message"),
    [
        (0, 1, "actors is 0, expected at least 1"),
        ("3:2", 1, "actors is 3:2, expected at least 1, or a range"),
        (5, 1, "found 5 scoring actors of 1 CPU each, expected 1 to 4"),
        ("5:9", 1, "found 5 scoring actors of 1 CPU each, expected 1 to 4"),
        (1, 0, "cpus per actor is 0, expected at least 1"),
        (3, 2, "found 3 scoring actors of 2 CPUs each, expected 1 to 2"),
        (None, 3, "found no room for a scoring actor of 3 CPUs"),
    ],
)
def test_actors_for_which_there_is_no_room_are_refused_at_once(
    root: Storage, actors: int | str | None, cpus: int, message: str
) -> None:
    inputs, model = from_examples(FEW, source="memory"), open_model(root, "runs/r1", SHAPES)
    with pytest.raises(UserError, match=message):
        score(
            model=model,
            inputs=inputs,
            storage=root,
            actors=actors,
            settings=PredictionSettings(cpus=cpus),
        )


def test_actors_of_several_cpus_make_another_result(root: Storage, model: Any) -> None:
    few, published = FEW.take(np.arange(600)), open_model(root, "runs/r1", SHAPES)
    inputs = from_examples(few, source="memory")
    one = score(model=published, inputs=inputs, storage=root, actors="1:9")
    two = score(
        model=published, inputs=inputs, storage=root, actors=1, settings=PredictionSettings(cpus=2)
    )
    assert one.id != two.id
    assert (one.details["actors"], two.details["actors"]) == (4, 1)
    assert (one.details["cpus_per_actor"], two.details["cpus_per_actor"]) == (1, 2)
    check_against(root, one, labels_of(model, few))
    check_against(root, two, labels_of(model, few))


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
    collected = CollectedLabels(ids=np.array([1, 5, 9]), classes=2)
    names = ["half", "columns", "gone", *contents]
    unfit = collected.add_files(open_storage(str(tmp_path)), "p", names)
    assert collected.names == ["first", "last"]
    assert unfit == [name for name in names if name not in collected.names]
    np.testing.assert_array_equal(collected.labels, [0, 1, 1])


def test_a_submission_is_what_the_competition_wants() -> None:
    assert to_submission(np.array([0, 7, 10]), np.array([3, 0, 4])) == b"Id,Label\n0,3\n7,0\n10,4\n"
