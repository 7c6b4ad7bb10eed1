"""Lists, shows, compares, verifies and removes runs in a storage.

    python -m jobs.runs list --task fashion --least 0.9 --storage s3://bucket/fmnist
    python -m jobs.runs diff fashion-cnn-0123456789ab fashion-cnn-ba9876543210
    python -m jobs.runs verify

Only `rm` writes. With --json, the answer is for programs.
"""

import json
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.conf import Positional

from fmnist.errors import UserError
from fmnist.stages import stage
from jobs.support.flags import parse_command
from jobs.support.launch import FAILED, launch

if TYPE_CHECKING:
    from fmnist.catalog.runs import FoundRun
    from fmnist.storage.open import Storage

Part = Literal["validation", "test", "train"]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Flags of all commands."""

    storage: str = "results"
    """A folder or s3://bucket/prefix."""
    json: bool = False
    """Print JSON instead of text."""


@dataclass(frozen=True, kw_only=True)
class Chosen(Place):
    """Flags that choose runs."""

    task: str | None = None
    """Only runs of the task with this name."""
    architecture: str | None = None
    """Only runs of this network."""
    part: Part = "validation"
    """The images whose accuracy counts."""


@dataclass(frozen=True, kw_only=True)
class List(Chosen):
    """Prints a line for each run, the best first."""

    least: float | None = None
    """Only runs with at least this accuracy, a share such as 0.9."""
    sort: Literal["score", "id"] = "score"
    """score: the highest accuracy first; id: by name."""


@dataclass(frozen=True, kw_only=True)
class Best(Chosen):
    """Shows the run with the highest accuracy."""


@dataclass(frozen=True, kw_only=True)
class Show(Place):
    """Shows scores, settings and files of a run."""

    run: Positional[str]
    """Id of the run."""


@dataclass(frozen=True, kw_only=True)
class Diff(Place):
    """Compares two runs: settings, scores with paired tests, classes."""

    a: Positional[str]
    """Id of a run."""
    b: Positional[str]
    """Id of another run."""
    part: Part = "validation"
    """The images whose accuracy is compared over seeds."""


@dataclass(frozen=True, kw_only=True)
class Remove(Place):
    """Removes a run; never a champion, nor one that a rollback may return to."""

    run: Positional[str]
    """Id of the run."""
    yes: bool = False
    """Do not ask."""
    force: bool = False
    """Also a run that changed within a day, which a job may be using."""


@dataclass(frozen=True, kw_only=True)
class Verify(Place):
    """Reads every file of every result; exit code 1 if one is damaged."""


@dataclass(frozen=True, kw_only=True)
class Flags:
    command: Annotated[
        Annotated[List, tyro.conf.subcommand("list")]
        | Annotated[Show, tyro.conf.subcommand("show")]
        | Annotated[Diff, tyro.conf.subcommand("diff")]
        | Annotated[Best, tyro.conf.subcommand("best")]
        | Annotated[Remove, tyro.conf.subcommand("rm")]
        | Annotated[Verify, tyro.conf.subcommand("verify")],
        tyro.conf.arg(name=""),
    ]


def parse() -> Flags:
    return parse_command(Flags, __doc__)


def run(flags: Flags) -> None:
    from fmnist.catalog.runs import find_run
    from fmnist.storage.open import open_storage

    command = flags.command
    with stage(f"looking at {command.storage}", logged=False):
        storage = open_storage(command.storage, writable=isinstance(command, Remove))
    match command:
        case List():
            print_list(command, storage)
        case Best():
            print_best(command, storage)
        case Show():
            print_run(command, find_run(storage, command.run), storage)
        case Diff():
            print_diff(command, storage)
        case Remove():
            remove(command, storage)
        case Verify():
            verify(command, storage)


def print_list(flags: List, storage: "Storage") -> None:
    """Prints a line for each chosen run, or says that there is none."""
    from fmnist.catalog.text import runs_table

    if flags.least is not None and not 0 <= flags.least <= 1:
        raise UserError(f"least is {flags.least:g}, expected a share from 0 to 1, such as 0.9")
    runs = [
        run
        for run in chosen(flags, storage)
        if flags.least is None or (run.score(flags.part) or 0.0) >= flags.least
    ]
    if flags.sort == "score":
        runs.sort(key=lambda run: run.score(flags.part) or -1.0, reverse=True)
    if flags.json:
        _print_json([run.to_json() for run in runs])
    else:
        print(runs_table(runs) if runs else f"{storage.uri}: found no such run")


def print_best(flags: Best, storage: "Storage") -> None:
    """Prints the best of the chosen runs."""
    from fmnist.catalog.runs import best_run

    runs = chosen(flags, storage)
    if len(tasks := sorted({run.task for run in runs})) > 1:
        raise UserError(
            f"{storage.uri}: has runs of several tasks, expected --task with one of "
            f"{', '.join(tasks)}"
        )
    print_run(flags, best_run(runs, flags.part), storage)


def print_run(flags: Place, run: "FoundRun", storage: "Storage") -> None:
    """Prints one run; ends the process with exit code 1 if it is damaged."""
    from fmnist.catalog.text import run_text

    if flags.json:
        _print_json(run.to_json())
    else:
        print(run_text(run, storage.uri))
    if run.problem:
        sys.exit(FAILED)


def print_diff(flags: Diff, storage: "Storage") -> None:
    """Prints what differs between two runs."""
    from fmnist.catalog.diff import diff_runs
    from fmnist.catalog.runs import find_run, list_runs
    from fmnist.catalog.text import diff_text

    a, b = find_run(storage, flags.a), find_run(storage, flags.b)
    if a.task != b.task:
        raise UserError(f"found runs of the tasks {a.task} and {b.task}, expected two of one task")
    diff = diff_runs(storage, a, b, list_runs(storage), part=flags.part)
    if flags.json:
        _print_json(asdict(diff))
    else:
        print(diff_text(a, b, diff))


def remove(flags: Remove, storage: "Storage") -> None:
    """Removes a run, after a question on a terminal."""
    from fmnist.catalog.remove import check_removable, remove_run
    from fmnist.catalog.runs import find_run

    found, now = find_run(storage, flags.run), datetime.now(UTC)
    check_removable(storage, found, now=now, force=flags.force)
    if not flags.yes:
        if not sys.stdin.isatty():
            raise UserError("found no terminal to ask at, expected --yes")
        if not _agrees(f"remove the {found.state} run {found.id}?"):
            print("nothing was removed")
            return
    remove_run(storage, found, now=now, force=flags.force)
    if flags.json:
        _print_json({"removed": found.id})
    else:
        print(f"run {found.id} is removed")


def _agrees(question: str) -> bool:
    """Asks on the terminal; an end of the input (Ctrl-D) is a no."""
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)  # the output may be JSON
    try:
        return input().strip().lower() == "y"
    except EOFError:
        print(file=sys.stderr)
        return False


def verify(flags: Verify, storage: "Storage") -> None:
    """Prints each damaged file; ends the process with exit code 1 if there is one."""
    from fmnist.catalog.verify import verify

    with stage("reading every file", logged=False):
        found = verify(storage)
    if flags.json:
        _print_json(asdict(found))
    else:
        for problem in found.damaged:
            print(f"damaged: {problem}")
        print(f"{found.results} results are whole: {found.files} files, {found.size:,} bytes")
    if found.damaged:
        sys.exit(FAILED)


def chosen(flags: Chosen, storage: "Storage") -> "list[FoundRun]":
    """Returns the runs of the task and the network that the flags name.

    Raises UserError for a task that no run has.
    """
    from fmnist.catalog.runs import list_runs

    with stage("reading the manifests of all runs", logged=False):
        runs = list_runs(storage)
    tasks = sorted({run.task for run in runs})
    if runs and flags.task not in (None, *tasks):
        raise UserError(
            f"{storage.uri}: has no run of the task {flags.task!r}, found {', '.join(tasks)}"
        )
    return [
        run
        for run in runs
        if flags.task in (None, run.task)
        and flags.architecture in (None, run.architecture, run.architecture.partition(".")[0])
    ]


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=1, allow_nan=False))


if __name__ == "__main__":
    launch(parse, run)
