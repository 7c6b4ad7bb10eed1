"""What a run keeps of its data: sampled, written, and read again, also from older runs."""

from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet as pq

from fmnist.drift import reference
from fmnist.drift.image_statistics import image_statistics
from fmnist.drift.reference import STATISTICS, ImageSample, read_reference, sample_positions
from fmnist.errors import UserError
from fmnist.run_settings import Training
from fmnist.runs.ids import run_folder
from fmnist.storage.manifest import Manifest, publish, read_manifest
from fmnist.storage.open import Storage, open_storage
from tests.support.samples import SHAPES, examples
from tests.support.scored_runs import publish_scored

CLASSES = len(SHAPES.classes)


def test_a_sample_is_the_same_each_time_and_misses_no_class_that_takes_turns() -> None:
    chosen = sample_positions(6_000, 1_000)
    np.testing.assert_array_equal(chosen, sample_positions(6_000, 1_000))
    assert len(chosen) == 1_000 and (np.diff(chosen) > 0).all()
    assert np.bincount(chosen % 6).min() > 120
    assert sample_positions(5).tolist() == [0, 1, 2, 3, 4]


def test_an_older_run_knows_its_labels_alone(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    run = publish_scored(storage, Training(), accuracy=0.5)
    found = read_reference(storage, run, 3)
    assert found.images is found.confidence is None
    assert found.labels is not None and found.labels.tolist() == [100] * CLASSES
    assert found.predicted is not None and found.predicted.sum() == 400
    with pytest.raises(UserError, match=r"runs/none: found no manifest\.json, expected the folder"):
        read_reference(storage, "none", 3)


def test_statistics_are_read_as_they_were_written(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path / "storage"))
    samples = {
        part: ImageSample(
            statistics=image_statistics(examples(SHAPES, count, count).images),
            confidence=np.linspace(0.25, 1, count, dtype=np.float32),
        )
        for part, count in (("train", 30), ("validation", 7), ("test", 9))
    }
    run = with_statistics(storage, tmp_path, samples)
    found = read_reference(storage, run, 3)
    np.testing.assert_array_equal(found.images, samples["train"].statistics)
    np.testing.assert_array_equal(found.confidence, samples["test"].confidence)


def with_statistics(storage: Storage, folder: Path, samples: dict[str, ImageSample]) -> str:
    """Publishes a run with scores and these samples."""
    run = publish_scored(storage, Training(), accuracy=0.5)
    old = read_manifest(storage, run_folder(run))
    assert isinstance(old, Manifest)
    files = folder / "files"
    files.mkdir()
    for name in old.files:
        storage.download(f"{run_folder(run)}/{old.files[name].path}", files / name)
    pq.write_table(reference.to_table(samples, 3), files / STATISTICS)
    publish(storage, run_folder("r2"), files, kind="run", id="r2", details=old.details)
    return "r2"
