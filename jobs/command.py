"""The command `fmnist`, which `pip install .` makes: it runs the jobs by their names."""

import sys
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any, Union

import tyro

from jobs.support.flags import flag_registry
from jobs.support.launch import USER_ERROR, launch
from jobs.support.output import outlast_reader

PROGRAM = "fmnist"
JOBS = ("train", "compare", "score", "retrain", "export", "runs")
COMPLETION = "completion"
SHELLS = ("bash", "zsh", "fish")


@dataclass(frozen=True, kw_only=True)
class Completion:
    """The command `completion`, which has no flags, as tyro sees it."""


def main() -> None:
    """Runs the job that the first argument names, with the other arguments as its flags."""
    outlast_reader()
    name, *flags = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print(_help())
    elif name == "--version":
        print(f"{PROGRAM} {version(PROGRAM)}")
    elif name == COMPLETION:
        print_completion(flags[0] if flags else "")
    elif name in JOBS:
        job = import_module(f"jobs.{name}")
        sys.argv = [f"{PROGRAM} {name}", *flags]
        launch(job.parse, job.run)
    else:
        _refuse(f"unknown command {name!r}", name, (*JOBS, COMPLETION))


def print_completion(shell: str) -> None:
    """Prints a script with which that shell completes the commands, their flags and their values.

    tyro writes it: the script knows all flags, so that a press of Tab imports nothing of ours.
    """
    if shell not in SHELLS:
        _refuse(f"unknown shell {shell!r}", shell, SHELLS)
    commands: Any = tuple(
        Annotated[flags, tyro.conf.subcommand(name)]
        for name, flags in (
            *((name, import_module(f"jobs.{name}").Flags) for name in JOBS),
            (COMPLETION, Completion),
        )
    )
    tyro.cli(
        Union[commands],  # noqa: UP007 (made while it runs)
        prog=PROGRAM,
        args=["--tyro-write-completion", shell, "-"],
        registry=flag_registry(strict=True),
    )


def _help() -> str:
    rows = [(name, _first_line(import_module(f"jobs.{name}"))) for name in JOBS]
    rows.append((COMPLETION, f"Prints a script for {', '.join(SHELLS)} that completes flags."))
    listed = "\n".join(f"  {name:<12}{text}" for name, text in rows)
    return f"usage: {PROGRAM} COMMAND [FLAGS]\n\n{listed}\n\n{PROGRAM} COMMAND --help lists flags."


def _first_line(job: Any) -> str:
    return str(job.__doc__).partition("\n")[0]


def _refuse(problem: str, name: str, known: tuple[str, ...]) -> None:
    close = get_close_matches(name, known, n=1)
    meant = f", did you mean {close[0]}?" if close else "."
    print(f"error: {problem}{meant} Expected one of {', '.join(known)}", file=sys.stderr)
    sys.exit(USER_ERROR)
