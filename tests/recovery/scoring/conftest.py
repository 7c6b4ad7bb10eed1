"""Fixtures: a network, a storage that has its run, and the published model."""

from pathlib import Path
from typing import Any

import pytest

from fmnist.runs.published import PublishedModel, open_model
from fmnist.storage.open import Storage, open_storage
from tests.support.models import convolutional, publish_run
from tests.support.samples import SHAPES


@pytest.fixture(scope="module")
def network() -> Any:
    return convolutional(SHAPES)


@pytest.fixture
def storage(storage_uri: str, network: Any, tmp_path: Path) -> Storage:
    """A storage with the network's run."""
    storage = open_storage(storage_uri)
    publish_run(storage, tmp_path / "model", network, SHAPES)
    return storage


@pytest.fixture
def model(storage: Storage) -> PublishedModel:
    return open_model(storage, "runs/r1", SHAPES)
