"""SIGTERM, as from `ray job stop`: ends a job as Ctrl-C does, but with an exit code of its own."""

import threading
from typing import Any

# This process received SIGTERM. It is noted here, since where Ray waits it raises a
# KeyboardInterrupt of its own in place of whatever a signal's handler has raised.
terminated = threading.Event()


def terminate(*_: Any) -> None:
    """Handles the signal: stops the job as Ctrl-C would."""
    terminated.set()
    raise KeyboardInterrupt
