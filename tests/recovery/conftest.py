"""Fixtures: the run that the recovery tests disturb, and how it ends undisturbed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fmnist.data.dataset import Dataset
from fmnist.data.export import export_parquet
from tests.recovery.runs import images, outcome, run


@pytest.fixture(scope="session")
def small() -> Dataset:
    return images()


@pytest.fixture(scope="session")
def real(fashion: Dataset, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder of 150 real images to train on and 41 to test on."""
    folder = tmp_path_factory.mktemp("data") / "small"
    assert fashion.test is not None
    parts = {"train": fashion.train.take(np.arange(150)), "test": fashion.test.take(np.arange(41))}
    export_parquet(Dataset(task=fashion.task, source="", **parts), str(folder))
    return str(folder)


@pytest.fixture(scope="session")
def undisturbed(
    ray_cluster: Any, small: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """Its storage root, and what came out."""
    root = tmp_path_factory.mktemp("undisturbed")
    run(small, str(root))
    return root, outcome(str(root), small)
