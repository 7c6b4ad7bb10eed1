"""Fixtures: a storage on S3, and the same storage through a proxy that disturbs it."""

import pickle

import pytest

from fmnist.storage.open import S3Storage, Storage, open_storage
from tests.support.servers.faulty import Proxy


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes storage give up after two attempts, as a user may; by default after half a minute."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")


@pytest.fixture
def steady(s3_uri: str) -> Storage:
    """A storage that reaches the server directly."""
    return open_storage(s3_uri)


@pytest.fixture
def shaken(steady: Storage, proxy: Proxy) -> S3Storage:
    """The same storage through the proxy."""
    assert isinstance(steady, S3Storage)
    copy = pickle.loads(pickle.dumps(steady))
    assert isinstance(copy, S3Storage)
    return copy
