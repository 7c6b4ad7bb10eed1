"""What a job prints: how it gets on and what came of it, or with `--quiet` a path alone."""

import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TextIO

_paths: TextIO | None = None  # where a quiet job prints them; None: the job is not quiet


class _LastingOutput(io.TextIOWrapper):
    """Standard output that goes nowhere once its reader has ended."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except BrokenPipeError:
            self._drop()
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except BrokenPipeError:
            self._drop()

    def _drop(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)


def outlast_reader() -> None:
    """Lets this process go on when what reads its output ends, such as `head`.

    A line of output must not decide whether a job publishes its result, nor who is told of it. Each
    line is written when it is printed.
    """
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout is sys.__stdout__:
        sys.stdout = _LastingOutput(
            sys.stdout.buffer, sys.stdout.encoding, sys.stdout.errors, line_buffering=True
        )


@contextmanager
def quiet_if_asked(flags: object) -> Iterator[None]:
    """Prints paths of results alone until the block ends, if the flags say so.

    Warnings and errors go to the other stream, as ever. What a dry run prints is its result.
    """
    global _paths
    if not getattr(flags, "quiet", False) or getattr(flags, "dry_run", False):
        yield
        return
    _paths = sys.stdout
    try:
        with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
            yield
    finally:
        _paths = None


def print_path(place: str) -> None:
    """Prints the path or URI that a user opens first; the last line about a result."""
    if _paths:
        print(place, file=_paths, flush=True)
    else:
        print(f"open {place}", flush=True)


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints rows below their headers: the first column from the left, all others from the right.

    There is no line at all without rows.
    """
    if not rows:
        return
    lines = [headers, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for first, *others in lines:
        cells = [text.rjust(width) for text, width in zip(others, widths[1:], strict=True)]
        print("  " + "  ".join([first.ljust(widths[0]), *cells]))


def print_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Prints names and values in two columns."""
    width = max((len(name) for name, _ in facts), default=0)
    for name, value in facts:
        print(f"  {name.ljust(width)}  {value}")
