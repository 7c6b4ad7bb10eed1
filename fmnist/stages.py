"""Tells a user what a job does while it has nothing else to show, such as reading the data.

A terminal shows it at once, in a line that goes away. A job's log has a line for each stage that
lasts longer than SHOW_AFTER.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SHOW_AFTER = 2.0  # seconds


@contextmanager
def stage(text: str, *, logged: bool = True) -> Iterator[None]:
    """Shows what is being done until the block ends.

    Without `logged`, it is shown on a terminal alone, and apart from standard output, which has an
    answer for programs.
    """
    from rich.console import Console  # here: it takes a tenth of a second, and help needs none
    from rich.markup import escape

    console = Console(soft_wrap=True, stderr=not logged)
    if console.is_terminal or not logged:
        with console.status(escape(text)):
            yield
        return
    timer = threading.Timer(SHOW_AFTER, print, [line(text)], {"flush": True})
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def line(text: str) -> str:
    """The line of a stage in a job's log."""
    return f"{text} …"


class StageLog:
    """Decides which stages of another process get a line in the log; looks at them now and then."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._current, self._since, self._shown = "", clock(), True

    def look(self, current: str) -> str | None:
        """Takes the current stage; returns its line once, when it has lasted long enough."""
        if current != self._current:
            self._current, self._since, self._shown = current, self._clock(), not current
        if self._shown or self._clock() - self._since < SHOW_AFTER:
            return None
        self._shown = True
        return line(current)
