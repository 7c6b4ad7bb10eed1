"""Fixtures: the run that the recovery tests disturb, and how it ends undisturbed."""

from pathlib import Path
from typing import Any

import pytest

from fmnist.data.dataset import Dataset
from tests.recovery.runs import images, outcome, run


@pytest.fixture(scope="session")
def small() -> Dataset:
    return images()


@pytest.fixture(scope="session")
def undisturbed(
    ray_cluster: Any, small: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """Its storage root, and what came out."""
    root = tmp_path_factory.mktemp("undisturbed")
    run(small, str(root))
    return root, outcome(str(root), small)
