"""Fixtures of many test files: the real data set, and a real S3 server."""

import pytest

from fmnist.dataset import Dataset
from fmnist.sources import load
from fmnist.tasks import COMPETITION, FASHION

pytest_plugins = [
    "tests.browser",
    "tests.cluster",
    "tests.fuzzing",
    "tests.head",
    "tests.s3",
    "tests.ceph",
]


@pytest.fixture(scope="session")
def fashion() -> Dataset:
    """The official Fashion-MNIST, found or fetched as a user's would be."""
    return load(FASHION)


@pytest.fixture(scope="session")
def competition(fashion: Dataset) -> Dataset:
    """The same images with the competition's rows and labels."""
    return load(COMPETITION)
