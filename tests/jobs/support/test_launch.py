"""Ends of a job that finds no cluster, or in whose cluster a process dies."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ray.exceptions import RayError, RayTaskError, WorkerCrashedError
from ray.train import WorkerGroupError

from jobs.support.connect import start_ray
from jobs.support.launch import FAILED, USER_ERROR, launch
from tests.support.paths import ROOT


def ends(run: Callable[[], Any]) -> int:
    """Returns the exit code of a job that does this."""
    with pytest.raises(SystemExit) as found:
        launch(lambda: None, lambda _: run())
    assert isinstance(found.value.code, int)
    return found.value.code


def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


JOB = """
from dataclasses import dataclass
from pathlib import Path
from fmnist.cluster.progress_bar import show_count
from jobs.support.launch import launch
from jobs.support.on_finish import JobResult

@dataclass
class Flags:
    on_finish: str = "echo $FMNIST_OUTCOME $FMNIST_EXIT_CODE > told"

def run(flags):
    for number in range(10_000):
        print(number)
    with show_count("counting", "things", 3, lambda: 3):
        pass
    Path("published").touch()
    return JobResult(outcome="finished", summary="")

launch(Flags, run)
"""


def without_reader(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Runs Python with these arguments, whose output nobody reads any more."""
    reader, writer = os.pipe()
    os.close(reader)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, *arguments]
    try:
        return subprocess.run(
            command, cwd=cwd, env=environment, stdout=writer, stderr=subprocess.PIPE, text=True
        )
    finally:
        os.close(writer)


@pytest.mark.parametrize(
    "arguments",
    [
        ("-m", "jobs.train", "--help"),
        ("-m", "jobs.runs", "verify", "--storage", "."),
        ("-c", "from jobs.command import main; main()", "--help"),
        ("-c", "from jobs.command import main; main()", "completion", "bash"),
    ],
    ids=lambda arguments: " ".join(arguments[-2:]),
)
def test_a_reader_that_has_enough_is_no_error(arguments: tuple[str, ...]) -> None:
    done = without_reader(*arguments)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_job_whose_reader_left_publishes_and_tells(tmp_path: Path) -> None:
    done = without_reader("-c", JOB, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "published").exists()
    assert (tmp_path / "told").read_text() == "finished 0\n"


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("http://user:secret@head:8265", "begins with http://, expected host:port"),
        ("ray://head:10001", "begins with ray://, expected host:port"),
        ("head", "is 'head', expected host:port"),
        ("head:port", "is 'head:port', expected host:port"),
        ("head:99999", "is 'head:99999', expected host:port"),
        (":6379", "is ':6379', expected host:port"),
        ("nowhere.invalid:6379", "no Ray cluster that answers at RAY_ADDRESS nowhere.invalid:6379"),
        pytest.param(
            closed_port(),
            r"no Ray cluster that answers at RAY_ADDRESS 127.* \(Connection refused\)",
            id="a closed port",
        ),
    ],
)
def test_an_address_without_a_cluster_is_one_message_at_once(
    address: str, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    begin = time.monotonic()
    assert ends(start_ray) == USER_ERROR
    assert time.monotonic() - begin < 12
    error = capsys.readouterr().err
    assert re.fullmatch(rf"error: .*{message}.*\n", error)
    assert "secret" not in error


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        (WorkerCrashedError(), "WorkerCrashedError: The worker died unexpectedly while executing"),
        (
            RayTaskError("fit", "a long report", WorkerGroupError("x", {0: OSError("one\ntwo")})),
            "training failed: OSError: one",
        ),
    ],
)
def test_what_fails_in_the_cluster_is_one_line_with_details_in_a_file(
    reason: RayError, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> None:
        raise reason

    assert ends(fails) == FAILED
    line = capsys.readouterr().err
    found = re.fullmatch(
        rf"error: {message}.*; the same command goes on from here \(details: (.*)\)\n", line
    )
    assert found, line
    assert "Traceback" in Path(found[1]).read_text()
    Path(found[1]).unlink()


def test_a_ray_that_starts_too_slowly_is_one_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def init(**_: Any) -> None:
        raise Exception("The current node timed out during startup.")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("ray.init", init)
    assert ends(start_ray) == FAILED
    error = capsys.readouterr().err
    assert "timed out during startup" in error and "Traceback" not in error
    assert error.count("\n") == 1


def test_a_ray_of_its_own_has_no_process_that_a_job_has_no_use_for() -> None:
    script = """
import ray
from jobs.support.connect import start_ray
start_ray()
print(sorted(ray._private.worker._global_node.all_processes))
ray.get(ray.remote(int).remote(1))
"""
    env = os.environ | {"RAY_ADDRESS": "local"}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.stdout == "['gcs_server', 'monitor', 'raylet']\n", done.stderr
