"""Fixtures: a command that a user got wrong, and the environment of jobs on the tests' cluster."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from jobs.support.launch import launch
from tests.support.servers.head import environment


@pytest.fixture
def fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., str]:
    """Runs a command that a user got wrong; returns its one message. It must write nothing."""
    monkeypatch.chdir(tmp_path)

    def run_wrong(job: ModuleType, *flags: str) -> str:
        before = sorted(tmp_path.rglob("*"))
        monkeypatch.setattr(sys, "argv", [job.__name__, *flags])
        with pytest.raises(SystemExit) as end:
            launch(job.parse, job.run)
        assert end.value.code == 2
        assert sorted(tmp_path.rglob("*")) == before
        message = capsys.readouterr().err
        assert message.count("error: ") == 1 and "Traceback" not in message
        return message

    return run_wrong


@pytest.fixture
def on_cluster(ray_cluster: Any) -> dict[str, str]:
    """The environment of jobs that need no Ray of their own, whose start takes several seconds."""
    return environment(RAY_ADDRESS=ray_cluster.address)
