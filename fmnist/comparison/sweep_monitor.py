"""What a sweep's driver and its trials tell each other: how the runs go on, and when to end.

Not by Tune's own reports: a trial waits until its last one was taken, and so would never come to
save its state once its driver has been interrupted.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import ray

from fmnist.cluster.capacity import here
from fmnist.training.progress import POLL, start_monitor


@dataclass(frozen=True, kw_only=True)
class News:
    """What became known of a run since the last time."""

    run: str
    rows: list[dict[str, float]]  # of its history, one an epoch
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
    lasting = ray.remote(
        num_cpus=0, max_restarts=-1, max_task_retries=-1, scheduling_strategy=here()
    )
    return lasting(SweepMonitor).remote()


@contextmanager
def joined(sweep_monitor: Any, run: str) -> Iterator[Any]:
    """Yields the progress monitor of a run; its news reach the sweep's monitor, which may end it."""
    monitor = start_monitor()
    over = threading.Event()
    thread = threading.Thread(
        target=_pass_on, args=(sweep_monitor, run, monitor, over), daemon=True
    )
    thread.start()
    try:
        yield monitor
    finally:
        over.set()
        thread.join()
        ray.get(sweep_monitor.end.remote(run))


def _pass_on(sweep_monitor: Any, run: str, monitor: Any, over: threading.Event) -> None:
    last = False
    while not last:
        last = over.wait(POLL)
        with suppress(ray.exceptions.RayError):  # one of them has died: the run goes on without
            _, rows, notes = ray.get(monitor.read.remote())
            if ray.get(sweep_monitor.tell.remote(News(run=run, rows=rows, notes=notes))):
                monitor.stop.remote()
