"""Ids of runs: what is read from one."""

from dataclasses import replace
from typing import get_args

import pytest

from fmnist.models.network_files import NetworkFiles, WeightsFile
from fmnist.models.own_network import parse_network
from fmnist.run_settings import Architecture, Training
from fmnist.runs.ids import parse_run_id, run_id
from tests.support.samples import SHAPES


@pytest.mark.parametrize("architecture", get_args(Architecture))
@pytest.mark.parametrize("name", ["shapes", "my-shapes", "convnet-small", "cnn"])
def test_task_and_network_are_read_back(name: str, architecture: Architecture) -> None:
    run = run_id(replace(SHAPES, name=name), Training(architecture=architecture), "f" * 64)
    assert parse_run_id(run) == (name, architecture)


@pytest.mark.parametrize("task", ["shapes", "my-shapes", "my-cnn"])
@pytest.mark.parametrize("function", ["my_net", "cnn", "n_", "convnet_small"])
def test_so_are_those_of_a_users_own_network(task: str, function: str) -> None:
    network = parse_network(f"nets.py:{function}", f"def {function}(a, b, c): ...".encode())
    run = run_id(replace(SHAPES, name=task), Training(architecture=network.name), "f" * 64)
    assert run.startswith(f"{task}-{function}.")
    assert parse_run_id(run) == (task, network.name)


def test_the_id_follows_from_the_content_of_a_users_files() -> None:
    """The place of a file has no part in it."""
    given = Training(architecture="nets.py:net", initial_weights="a.keras")
    ids = []
    for text, weights in ((b"", b"1"), (b"# other", b"1"), (b"", b"2"), (b"", b"1")):
        network = parse_network("nets.py:net", b"def net(a, b, c): ...\n" + text)
        file = WeightsFile.of("a.keras", f"/{len(ids)}/a.keras", weights)
        named = NetworkFiles(networks=[network], weights=[file]).named(given)
        ids.append(run_id(SHAPES, named, "f" * 64))
    assert len(set(ids)) == 3 and ids[0] == ids[3]
    assert ids[0] == "shapes-net.4845867d6941-bc1c9cc0502c"


def test_an_unknown_network_has_no_hyphens() -> None:
    assert parse_run_id("my-shapes-net-0123456789ab") == ("my-shapes", "net")


@pytest.mark.parametrize("name", ["", "odd", "cnn-1"])
def test_another_name_has_no_network(name: str) -> None:
    assert parse_run_id(name) == (name, "")
