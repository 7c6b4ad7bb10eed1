"""What a run keeps of its data: the same in memory and in shards, with two workers as with one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fmnist.data.dataset import split_rows
from fmnist.drift.image_statistics import image_statistics
from fmnist.drift.reference import Reference, read_reference
from fmnist.run_settings import Cluster, Training
from fmnist.storage.open import open_storage
from fmnist.training.run import train
from tests.support import samples
from tests.support.sharded import write_shards

pytestmark = pytest.mark.usefixtures("ray_cluster")

TRAINING = Training(architecture="dense", batch=16, epochs=1, workers=2)
DATA = samples.dataset(train=100)


def kept(dataset: Any, training: Training, folder: Path) -> Reference:
    storage = open_storage(str(folder))
    manifest = train(dataset, training, Cluster(cpus_per_worker=1), storage, command="a test")
    return read_reference(storage, manifest.id, channels=3)


def check(known: Reference, rows: np.ndarray) -> None:
    """The statistics are those of these training images, and the model's of the test images."""
    assert DATA.train is not None and DATA.train.labels is not None and DATA.test is not None
    np.testing.assert_array_equal(known.images, image_statistics(DATA.train.images[rows]))
    assert known.labels is not None and known.predicted is not None
    assert known.labels.tolist() == np.bincount(DATA.train.labels[rows]).tolist()
    assert known.confidence is not None
    assert len(known.confidence) == known.predicted.sum() == len(DATA.test)
    assert ((known.confidence >= 0.25) & (known.confidence <= 1)).all()


def test_in_memory_and_in_shards(tmp_path: Path) -> None:
    rows, _ = split_rows(100, TRAINING.validation)
    check(kept(DATA, TRAINING, tmp_path / "memory"), rows)
    shards = write_shards(str(tmp_path / "shards"), DATA)
    streamed = replace(TRAINING, ingest="stream")
    check(kept(shards, streamed, tmp_path / "stream"), np.sort(rows))
