"""Ids of runs: what is read from one."""

from dataclasses import replace
from typing import get_args

import pytest

from fmnist.run_settings import Architecture, Training
from fmnist.runs.ids import parse_run_id, run_id
from tests.support.samples import SHAPES


@pytest.mark.parametrize("architecture", get_args(Architecture))
@pytest.mark.parametrize("name", ["shapes", "my-shapes", "convnet-small", "cnn"])
def test_task_and_network_are_read_back(name: str, architecture: Architecture) -> None:
    run = run_id(replace(SHAPES, name=name), Training(architecture=architecture), "f" * 64)
    assert parse_run_id(run) == (name, architecture)


def test_an_unknown_network_has_no_hyphens() -> None:
    assert parse_run_id("my-shapes-net-0123456789ab") == ("my-shapes", "net")


@pytest.mark.parametrize("name", ["", "odd", "cnn-1"])
def test_another_name_has_no_network(name: str) -> None:
    assert parse_run_id(name) == (name, "")
