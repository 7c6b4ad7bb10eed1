"""Programs that are run for a bounded time: what went wrong is returned, and nothing lives on."""

import os
import time
from pathlib import Path

import pytest

from fmnist.tracking.bounded import run_bounded


def shell(command: str, *, timeout: float = 10.0) -> str | None:
    return run_bounded(["sh", "-c", command], timeout=timeout, env=os.environ)


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("true", None),
        ("exit 3", "ended with exit code 3"),
        ("kill -9 $$", "was ended by signal 9"),
        ("no-such-program", "ended with exit code 127"),
    ],
)
def test_what_went_wrong_is_returned(command: str, problem: str | None) -> None:
    assert shell(command) == problem


def test_a_program_that_is_not_there_is_no_error_of_ours() -> None:
    problem = run_bounded(["/no/such/program"], timeout=1.0, env={})
    assert problem is not None and problem.startswith("could not be started: ")


def test_what_takes_too_long_is_killed_with_what_it_has_started(tmp_path: Path) -> None:
    begin = time.monotonic()
    problem = shell(f"(sleep 1.5; touch {tmp_path}/late) & sleep 60", timeout=0.5)
    assert problem == "took longer than 0.5 s and was killed"
    assert time.monotonic() - begin < 1.5
    time.sleep(2)
    assert not (tmp_path / "late").exists()


def test_what_it_prints_goes_where_it_is_wanted(tmp_path: Path) -> None:
    with (tmp_path / "output").open("w") as output:
        run_bounded(["sh", "-c", "echo out; echo err >&2"], timeout=5, env={}, output=output)
    assert (tmp_path / "output").read_text() == "out\nerr\n"
