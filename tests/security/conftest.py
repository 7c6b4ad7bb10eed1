"""Fixture: a storage in a folder."""

from pathlib import Path

import pytest

from fmnist.storage.open import Storage, open_storage


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(str(tmp_path / "results"))
