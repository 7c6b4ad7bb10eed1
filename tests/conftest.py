"""Fixtures of many test files: the real data set, and a real S3 server."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest

from fmnist.data.dataset import Dataset
from fmnist.data.export import export_parquet
from fmnist.data.load import load
from fmnist.data.streaming.cache import FOLDER
from fmnist.tasks import COMPETITION, FASHION

pytest_plugins = [
    "tests.support.servers.browser",
    "tests.support.servers.cluster",
    "tests.support.servers.faulty",
    "tests.support.fuzzing",
    "tests.support.servers.head",
    "tests.support.servers.mlflow",
    "tests.support.servers.s3",
    "tests.support.servers.ceph",
]

GPUS = Path(__file__).parent / "support" / "emulated_gpus"


def pytest_configure(config: pytest.Config) -> None:
    """TensorFlow sees two GPUs in every process that a test starts, Ray's workers among them.

    So a process that forgets to hide them has two replicas, and fails. The process that runs the
    tests has none, also where pytest-xdist starts several of them. Tests that import TensorFlow
    themselves get the kernels that `import_tensorflow` chooses. Shards that are streamed are kept
    in a folder of this session.
    """
    if config.getoption("numprocesses", None):  # it runs no tests itself
        return
    os.environ["EMULATED_GPUS"] = "2"
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"
    cache = tempfile.TemporaryDirectory(prefix="fmnist-shards-")
    config.add_cleanup(cache.cleanup)
    os.environ[FOLDER] = cache.name
    paths = [str(GPUS), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)


@pytest.fixture(scope="session")
def fashion() -> Dataset:
    """The official Fashion-MNIST, found or fetched as a user's would be."""
    return load(FASHION)


@pytest.fixture(scope="session")
def real_images(fashion: Dataset, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder of Parquet with 150 real images to train on and 41 to test on."""
    folder = str(tmp_path_factory.mktemp("data") / "small")
    assert fashion.train is not None and fashion.test is not None
    parts = {"train": fashion.train.take(np.arange(150)), "test": fashion.test.take(np.arange(41))}
    export_parquet(Dataset(task=fashion.task, source="", **parts), folder)
    return folder


@pytest.fixture(scope="session")
def competition(fashion: Dataset) -> Dataset:
    """The same images with the competition's rows and labels."""
    return load(COMPETITION)
