"""Data that change while a job scores them are refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fmnist.data.formats.parquet import write_part
from fmnist.errors import UserError
from fmnist.runs.published import PublishedModel, open_model
from fmnist.scoring import run as scoring
from fmnist.scoring.inputs import find_inputs
from fmnist.scoring.run import score
from fmnist.storage.manifest import read_manifest
from fmnist.storage.open import Storage, open_storage
from tests.support.models import publish_run
from tests.support.predictions import check_against, folder_of, labels_of
from tests.support.samples import SHAPES, examples

pytestmark = pytest.mark.usefixtures("ray_cluster")
FEW = examples(SHAPES, 5_000)


def test_data_that_change_before_they_are_read_are_refused(
    storage: Storage, model: PublishedModel, network: Any
) -> None:
    """Half of the images are others; labels of both halves never get into one result."""
    halves = FEW.take(np.arange(2_500)), FEW.take(np.arange(2_500, 5_000))
    for number, half in enumerate(halves):
        write_part(half, *storage.arrow(f"data/test/{number}"))
    first = find_inputs(SHAPES, f"{storage.uri}/data")
    part = "data/test/1/part-00000.parquet"
    old = storage.read(part)
    images = 255 - halves[1].images
    other = type(FEW)(ids=halves[1].ids, images=images, labels=halves[1].labels)
    write_part(other, *storage.arrow("data/test/1"))
    with pytest.raises(UserError, match=r"data: changed while it was scored \(id \d+ .*image"):
        score(model=model, inputs=first, storage=storage, actors=1, rows_per_file=500)
    assert read_manifest(storage, folder_of(model, first)) is None

    second = find_inputs(SHAPES, f"{storage.uri}/data")
    assert folder_of(model, second) != folder_of(model, first)
    manifest = score(model=model, inputs=second, storage=storage, actors=1)
    assert manifest.details["taken_over"] == 0
    check_against(storage, manifest, labels_of(network, halves[0]) | labels_of(network, other))

    storage.write(part, old)  # the continued job takes over no label of the other data
    manifest = score(model=model, inputs=first, storage=storage, actors=1)
    check_against(storage, manifest, labels_of(network, FEW))


@pytest.mark.parametrize("change", ["rewritten", "removed", "added"])
def test_data_that_change_before_publication_are_refused(
    tmp_path: Path, network: Any, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    storage = open_storage(str(tmp_path))
    publish_run(storage, tmp_path / "model", network, SHAPES)
    model = open_model(storage, "runs/r1", SHAPES)
    few = FEW.take(np.arange(50))
    write_part(few, *storage.arrow("data/test"))
    inputs = find_inputs(SHAPES, f"{storage.uri}/data")
    scored = scoring.write_labels

    def then_change(*args: Any, **kwargs: Any) -> None:
        scored(*args, **kwargs)
        write_part(
            few.take(np.arange(40)), *storage.arrow(f"data/test{'/more' * (change == 'added')}")
        )
        if change == "removed":
            storage.delete("data/test")

    monkeypatch.setattr(scoring, "write_labels", then_change)
    with pytest.raises(UserError, match=str(tmp_path / "data")):
        score(model=model, inputs=inputs, storage=storage, actors=1)
    assert read_manifest(storage, folder_of(model, inputs)) is None
    assert storage.read_version(f"{folder_of(model, inputs)}/submission.csv") is None


def test_data_that_were_written_again_and_are_the_same_are_not_refused(
    storage: Storage, model: PublishedModel, network: Any
) -> None:
    few = FEW.take(np.arange(50))
    write_part(few, *storage.arrow("data/test"))
    inputs = find_inputs(SHAPES, f"{storage.uri}/data")
    write_part(few.take(np.arange(50)[::-1]), *storage.arrow("data/test"))
    manifest = score(model=model, inputs=inputs, storage=storage, actors=1)
    check_against(storage, manifest, labels_of(network, few))
