"""What a sweep's driver and its trials tell each other: how the runs go on, and when to end.

Not by Tune's own reports: a trial waits until its last one was taken, and so would never come to
save its state once its driver has been interrupted.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import ray

from fmnist.cluster.actors import start_lasting_actor
from fmnist.cluster.polling import polling
from fmnist.runs.history import EpochRow
from fmnist.training.monitor import MonitorHandle, RunUpdate, start_run_monitor
from fmnist.training.progress import POLL_INTERVAL


@dataclass(frozen=True, kw_only=True)
class News:
    """What became known of a run since the last time."""

    run: str
    rows: list[EpochRow]  # of its history, one an epoch
    notes: list[str]  # what the user should know, such as a damaged checkpoint


class SweepMonitor:
    """All trials of a sweep write here, and their driver reads; an actor beside the driver."""

    def __init__(self) -> None:
        self._running: set[str] = set()
        self._news: list[News] = []
        self._stopping = False

    def begins(self, run: str) -> bool:
        """Returns True if a trial may begin with this run, and False once the sweep is to end."""
        if not self._stopping:
            self._running.add(run)
        return not self._stopping

    def end(self, run: str) -> None:
        """The trial of this run has ended, and whatever it had to save is saved."""
        self._running.discard(run)

    def running(self) -> int:
        """The number of runs that trials work on."""
        return len(self._running)

    def tell(self, news: News) -> bool:
        """Passes on what is new of a run; returns True if it shall end now."""
        self._running.add(news.run)  # again, should this actor have died and be a new one
        if news.rows or news.notes:
            self._news.append(news)
        return self._stopping

    def read(self) -> list[News]:
        """All that was told since the last call."""
        news, self._news = self._news, []
        return news

    def stop(self) -> None:
        """All runs shall save their state and end, and no other shall begin."""
        self._stopping = True


def start_sweep_monitor() -> Any:
    """The actor handle of a monitor beside the process that asks for it."""
    return start_lasting_actor(SweepMonitor)


@contextmanager
def run_monitor(sweep_monitor: Any, run: str) -> Iterator[MonitorHandle]:
    """Starts the monitor of one run, and passes its news on to the sweep's monitor meanwhile.

    Once the sweep is to end, the run is asked to stop.
    """
    monitor = start_run_monitor()

    def pass_on() -> None:
        with suppress(ray.exceptions.RayError):  # a monitor has died: the run goes on without news
            update: RunUpdate = ray.get(monitor.read.remote())
            news = News(run=run, rows=update.rows, notes=update.notes)
            if ray.get(sweep_monitor.tell.remote(news)):
                monitor.request_stop.remote()

    try:
        with polling(pass_on, every=POLL_INTERVAL):
            yield monitor
    finally:
        ray.get(sweep_monitor.end.remote(run))
