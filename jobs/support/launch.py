"""Runs and ends every job: one clear error, and the exit code.

It imports nothing that takes time: `--help` and mistakes in flags are answered before anything else
is imported. Therefore the jobs import Ray, Arrow and whatever uses them in their functions.
"""

import logging
import signal
import sys
from collections.abc import Callable
from typing import TypeVar

from fmnist.errors import UserError
from jobs.support.on_finish import JobResult, call_on_finish
from jobs.support.output import outlast_reader, quiet_if_asked
from jobs.support.sigterm import terminate, terminated

FAILED = 1  # exit codes
USER_ERROR = 2
INTERRUPTED = 130
TERMINATED = 143

Flags = TypeVar("Flags")


def launch(parse: Callable[[], Flags], run: Callable[[Flags], JobResult | None]) -> None:
    """Runs a job and ends the process; a UserError becomes one message and exit code 2.

    So does what goes wrong in Ray or its processes, with exit code 1 and its details in a file. At
    last, the command of `--on-finish` is called.
    """
    # This handler looks for the standard error stream at each message. On a terminal, rich puts a
    # stream of its own in that place, so that messages stand above the table that it draws.
    handlers = [logging.lastResort] if logging.lastResort else None
    logging.basicConfig(format="%(message)s", level=logging.WARNING, handlers=handlers)
    outlast_reader()
    flags, result = None, None
    try:
        flags = parse()
        if getattr(flags, "on_finish", None):
            signal.signal(signal.SIGTERM, terminate)  # else it would end the process with no call
        with quiet_if_asked(flags):
            result = run(flags)
        if result and result.exit_code:
            sys.exit(result.exit_code)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(USER_ERROR)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(TERMINATED if terminated.is_set() else INTERRUPTED)
    except Exception as error:
        from jobs.support.connect import failure

        message = failure(error)
        if message is None:
            raise
        print(f"error: {message}", file=sys.stderr)
        sys.exit(FAILED)
    finally:
        call_on_finish(flags, result, sys.exc_info()[1])
