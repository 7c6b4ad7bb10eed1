"""Fixtures: the run that the recovery tests disturb, and its result if nothing disturbs it.

With `--minutes N`, tests that have not begun after N minutes are skipped, and named at the end.
Tests with a folder as storage come last, because the same tests run on S3.
"""

import time
from pathlib import Path
from typing import Any

import pytest

from fmnist.data.dataset import Dataset
from tests.recovery.support.runs import images, outcome, run

BEGIN = time.monotonic()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--minutes", type=float, help="time after which no more tests begin")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("minutes") is not None:
        items.sort(key=lambda item: item.name.endswith("[folder]"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    minutes = item.config.getoption("minutes")
    if minutes is not None and time.monotonic() - BEGIN > 60 * minutes:
        pytest.skip(f"the {minutes:g} minutes that --minutes gives are over")


@pytest.fixture(scope="session")
def small() -> Dataset:
    return images()


@pytest.fixture(scope="session")
def undisturbed(
    ray_cluster: Any, small: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """Runs the training without faults; returns its storage root and its results."""
    root = tmp_path_factory.mktemp("undisturbed")
    run(small, str(root))
    return root, outcome(str(root), small)
