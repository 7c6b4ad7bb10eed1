"""Runs a program that is told something, for a bounded time: no job waits for it any longer."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO


def run_bounded(
    command: Sequence[str],
    *,
    timeout: float,
    env: Mapping[str, str],
    output: IO[str] | None = None,
) -> str | None:
    """Runs a command; returns what went wrong with it, or None.

    What it prints goes to `output`, or to where this process prints. It gets no signal that a
    terminal sends. After `timeout` seconds, or if this process is interrupted meanwhile, it is
    killed together with all that it has started.
    """
    try:
        process = subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:  # ValueError: a null byte
        return f"could not be started: {error}"
    try:
        code = process.wait(timeout)
    except subprocess.TimeoutExpired:
        return f"took longer than {timeout:g} s and was killed"
    finally:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if code < 0:
        return f"was ended by signal {-code}"
    return f"ended with exit code {code}" if code else None
