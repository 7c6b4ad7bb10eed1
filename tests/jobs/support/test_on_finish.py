"""`--on-finish`: called once however a job ends, and nothing that it does changes the job's end."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fmnist.errors import UserError
from jobs import compare, retrain
from jobs.support import on_finish
from jobs.support.config import job_config
from jobs.support.flags import command
from jobs.support.launch import launch
from jobs.support.on_finish import JobResult
from tests.support.paths import ROOT

TELL = 'echo "$FMNIST_OUTCOME|$FMNIST_SUMMARY|$FMNIST_EXIT_CODE" >> {}'
PUBLISHED = JobResult(outcome="promoted", summary="s3://bucket/summary.json")
# A job that works until it is stopped; it says when it has begun.
ENDLESS = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from jobs.support.launch import launch
def run(flags):
    Path(sys.argv[2]).touch()
    time.sleep(60)
launch(lambda: SimpleNamespace(on_finish=sys.argv[1]), run)
"""


def raising(error: BaseException) -> Any:
    def run(flags: object) -> None:
        raise error

    return run


def end_of(run: Any, command: str, *, dry_run: bool = False) -> int:
    """Launches a job with this command of `--on-finish`; returns its exit code."""
    flags = SimpleNamespace(on_finish=command, dry_run=dry_run)
    try:
        launch(lambda: flags, run)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.mark.parametrize(
    ("run", "told"),
    [
        (lambda flags: PUBLISHED, "promoted|s3://bucket/summary.json|0"),
        (lambda flags: JobResult(outcome="failed", summary="s", exit_code=1), "failed|s|1"),
        (raising(UserError("wrong")), "failed||2"),
        (raising(KeyboardInterrupt()), "interrupted||130"),
        (raising(SystemExit(1)), "failed||1"),
    ],
)
def test_each_end_is_told_once_and_stays(run: Any, told: str, tmp_path: Path) -> None:
    file = tmp_path / "told"
    code = end_of(run, TELL.format(file))
    assert file.read_text() == f"{told}\n" and told.endswith(f"|{code}")


def test_a_fault_of_the_program_is_told_too(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        end_of(raising(ZeroDivisionError()), TELL.format(tmp_path / "told"))
    assert (tmp_path / "told").read_text() == "failed||1\n"


def test_a_dry_run_calls_nothing(tmp_path: Path) -> None:
    assert end_of(lambda flags: None, TELL.format(tmp_path / "told"), dry_run=True) == 0
    assert not (tmp_path / "told").exists()


@pytest.mark.parametrize(
    ("command", "problem"),
    [("exit 7", "ended with exit code 7"), ("sleep 30", "took longer than 0.2 s and was killed")],
)
@pytest.mark.parametrize(
    ("run", "code"), [(lambda flags: PUBLISHED, 0), (raising(UserError("wrong")), 2)]
)
def test_a_command_that_fails_costs_one_line(
    command: str, problem: str, run: Any, code: int, monkeypatch: Any, caplog: Any
) -> None:
    if "took longer" in problem:
        monkeypatch.setattr(on_finish, "TIMEOUT", 0.2)
    begin = time.monotonic()
    assert end_of(run, command) == code
    assert time.monotonic() - begin < 5
    (record,) = caplog.records
    assert f"the command of --on-finish {problem}" in record.getMessage()


@pytest.mark.parametrize(
    ("sent", "told", "code"),
    [(signal.SIGINT, "interrupted||130", 130), (signal.SIGTERM, "terminated||143", 143)],
)
def test_a_job_that_is_stopped_tells_so(
    sent: signal.Signals, told: str, code: int, tmp_path: Path
) -> None:
    begun, file = tmp_path / "begun", tmp_path / "told"
    line = [sys.executable, "-c", ENDLESS, TELL.format(file), str(begun)]
    process = subprocess.Popen(line, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    while not begun.exists():
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, sent)
    assert process.wait(20) == code
    assert file.read_text() == f"{told}\n"
    assert process.stderr is not None
    assert process.stderr.read() == "stopped; the same command goes on from here\n"


@pytest.mark.parametrize(
    "flags",
    [
        ("--on-finish", "curl SECRET"),
        ("--on-finish=curl SECRET",),
        ("--on_finish", "curl SECRET"),
        ("--on_finish=curl SECRET",),
    ],
)
@pytest.mark.parametrize("job", [retrain, compare])
def test_no_result_has_the_command(job: Any, flags: tuple[str, ...], monkeypatch: Any) -> None:
    monkeypatch.setattr(sys, "argv", ["job", "--data", "d", *flags, "--storage", "s"])
    parsed = job.parse()
    assert parsed.on_finish == "curl SECRET"
    assert "SECRET" not in command() and shlex.split(command())[-2:] == ["--storage", "s"]
    assert "SECRET" not in job_config("job", parsed).to_toml()


def test_a_file_cannot_name_a_command(fails: Any) -> None:
    place = Path("../run.toml").absolute()
    place.write_text('on_finish = "rm -r results"\n')
    assert "on_finish can't be in a file" in fails(retrain, "--config", str(place))
