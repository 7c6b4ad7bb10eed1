"""Fixtures: a storage on S3, and the same storage through a proxy that disturbs it."""

import pickle

import pytest

from fmnist.storage.open import S3Storage, Storage, open_storage
from tests.support.servers.faulty import Proxy


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the user may set it; without, it is about half a minute."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")


@pytest.fixture
def steady(s3_uri: str) -> Storage:
    """Storage that reaches the server itself."""
    return open_storage(s3_uri)


@pytest.fixture
def shaken(steady: Storage, proxy: Proxy) -> S3Storage:
    """The same place through the proxy."""
    assert isinstance(steady, S3Storage)
    copy = pickle.loads(pickle.dumps(steady))
    assert isinstance(copy, S3Storage)
    return copy
