"""A count that a user watches: a bar on a terminal, and a line now and then in a job's log."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from fmnist.cluster.polling import polling
from fmnist.stages import line

POLL_INTERVAL = 0.5  # seconds
LOG_INTERVAL = 30.0  # seconds between the lines of a log


@contextmanager
def show_count(action: str, unit: str, total: int, count: Callable[[], int]) -> Iterator[None]:
    """Shows until the block ends how many of `total` are done, how fast, and the time left.

    `count` returns how many are done; it is called in a thread, and handles its own errors.
    """
    console = Console(soft_wrap=True)
    bar = Progress(
        TextColumn(action), BarColumn(), TextColumn("{task.percentage:.0f}%  {task.fields[pace]}"),
        console=console, transient=True, disable=not console.is_terminal,
    )  # fmt: skip
    # It pulses until it is started.
    task = bar.add_task(action, total=total, pace="starting", start=False)
    if not console.is_terminal:
        console.print(line(f"{action} {total:,} {unit}"), markup=False, highlight=False)
    pace = Pace(unit, total)
    logged = time.monotonic()

    def show() -> None:
        nonlocal logged
        done = count()
        text = pace.describe(done)
        bar.update(task, completed=done, pace="finishing" if done >= total else text or "starting")
        if text:
            bar.start_task(task)
        now = time.monotonic()
        if text and not console.is_terminal and now - logged >= LOG_INTERVAL:
            logged = now
            progress = f"{action}: {done:,} of {total:,} {unit}  {text}"
            console.print(progress, markup=False, highlight=False)

    with bar, polling(show, every=POLL_INTERVAL):
        yield


class Pace:
    """Speed since the first of the things was done; starting up does not count."""

    def __init__(self, unit: str, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._unit, self._total, self._clock = unit, total, clock
        self._begin: tuple[float, int] | None = None

    def describe(self, done: int) -> str:
        """Describes speed and time left; empty until there is a speed."""
        now = self._clock()
        if self._begin is None:
            if done:
                self._begin = now, done
            return ""
        begin, before = self._begin
        if done <= before or now <= begin:
            return ""
        speed = (done - before) / (now - begin)
        left = max(0, self._total - done) / speed
        return f"{speed:,.0f} {self._unit}/s  {format_duration(left)} left"


def format_duration(seconds: float) -> str:
    """Hours, minutes and seconds, as 0:01:30."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
