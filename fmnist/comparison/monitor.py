"""Progress of a sweep: an actor that its trials report to, beside the driver that reads it.

Tune's own reports are not used: a trial waits until its last report was read, so that it could not
save its state after the driver was interrupted.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol, cast

import ray

from fmnist.cluster.actors import RemoteMethod, ending, start_lasting_actor
from fmnist.cluster.polling import polling
from fmnist.cluster.progress_bar import POLL_INTERVAL
from fmnist.runs.history import EpochRow
from fmnist.training.monitor import MonitorHandle, RunUpdate, start_run_monitor


@dataclass(frozen=True, kw_only=True)
class SweepUpdate:
    """New rows of a run's history, and new notes for the user."""

    run: str
    rows: list[EpochRow]
    notes: list[str]


class SweepMonitor:
    """Actor beside the driver of a sweep: the trials report to it, and the driver reads it."""

    def __init__(self) -> None:
        self._running: set[str] = set()
        self._updates: list[SweepUpdate] = []
        self._stopping = False

    def begin(self, run: str) -> bool:
        """Returns True if a trial may train this run, and False once a stop was requested."""
        if not self._stopping:
            self._running.add(run)
        return not self._stopping

    def end(self, run: str) -> None:
        """Notes that the trial of this run has ended, and has saved its state."""
        self._running.discard(run)

    def running(self) -> int:
        """Returns the number of runs that trials work on."""
        return len(self._running)

    def report(self, update: SweepUpdate) -> bool:
        """Keeps an update for the driver; returns True if the run must stop now."""
        self._running.add(update.run)  # if this actor was started again, it does not know the run
        if update.rows or update.notes:
            self._updates.append(update)
        return self._stopping

    def read(self) -> list[SweepUpdate]:
        """Returns the updates since the last call."""
        updates, self._updates = self._updates, []
        return updates

    def request_stop(self) -> None:
        """Asks all runs to save their state and end, and lets no other begin."""
        self._stopping = True


class SweepMonitorHandle(Protocol):
    """The actor handle of a `SweepMonitor`."""

    begin: RemoteMethod[[str]]
    end: RemoteMethod[[str]]
    running: RemoteMethod[[]]
    report: RemoteMethod[[SweepUpdate]]
    read: RemoteMethod[[]]
    request_stop: RemoteMethod[[]]


@contextmanager
def sweep_monitor() -> Iterator[SweepMonitorHandle]:
    """Starts a monitor on the caller's node, and ends it after the block."""
    monitor = cast(SweepMonitorHandle, start_lasting_actor(SweepMonitor))
    with ending(monitor):
        yield monitor


@contextmanager
def run_monitor(of_sweep: SweepMonitorHandle, run: str) -> Iterator[MonitorHandle]:
    """Starts the monitor of one run, and reports its updates to the sweep's monitor meanwhile.

    After a stop was requested of the sweep, the run is asked to stop.
    """
    monitor = start_run_monitor(run)

    def pass_on() -> None:
        with suppress(ray.exceptions.RayError):  # without a monitor the run trains unseen
            update: RunUpdate = ray.get(monitor.read.remote())
            sweep_update = SweepUpdate(run=run, rows=update.rows, notes=update.notes)
            if ray.get(of_sweep.report.remote(sweep_update)):
                monitor.request_stop.remote()

    try:
        with polling(pass_on, every=POLL_INTERVAL):
            yield monitor
    finally:
        ray.get(of_sweep.end.remote(run))
