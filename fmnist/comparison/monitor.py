"""Progress of a sweep: an actor that its trials report to, beside the driver that reads it.

Tune's own reports are not used: a trial waits until its last report was read, so that it could not
save its state after the driver was interrupted.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, cast

import ray

from fmnist.cluster.actors import RemoteMethod, start_lasting_actor
from fmnist.training.monitor import MonitorHandle, RunMonitor, RunUpdate


class SweepMonitor:
    """Actor beside the driver of a sweep: has the monitors of all runs, and the driver reads it."""

    def __init__(self) -> None:
        self._running: set[str] = set()
        self._monitors: dict[str, RunMonitor] = {}  # by run
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

    def call(self, run: str, method: str, *arguments: Any) -> Any:
        """Calls a method of the run's monitor."""
        if run not in self._monitors:
            self._monitors[run] = RunMonitor(run)
            self._running.add(run)  # if this actor was started again, it does not know the run
            if self._stopping:
                self._monitors[run].request_stop()
        return getattr(self._monitors[run], method)(*arguments)

    def read(self) -> dict[str, RunUpdate]:
        """Returns the updates since the last call, by run, of those that have any."""
        updates = {run: monitor.read() for run, monitor in self._monitors.items()}
        return {
            run: update
            for run, update in updates.items()
            if update.rows or update.notes or update.warnings
        }

    def request_stop(self) -> None:
        """Asks all runs to save their state and end, and lets no other begin."""
        self._stopping = True
        for monitor in self._monitors.values():
            monitor.request_stop()


class SweepMonitorHandle(Protocol):
    """The actor handle of a `SweepMonitor`."""

    begin: RemoteMethod[[str]]
    end: RemoteMethod[[str]]
    running: RemoteMethod[[]]
    call: RemoteMethod[...]
    read: RemoteMethod[[]]
    request_stop: RemoteMethod[[]]


def start_sweep_monitor() -> SweepMonitorHandle:
    """Starts a monitor on the caller's node."""
    return cast(SweepMonitorHandle, start_lasting_actor(SweepMonitor))


@dataclass(frozen=True)
class _Method:
    remote: partial[ray.ObjectRef]


@dataclass(frozen=True)
class _RunInSweep:
    """Stands in for the handle of a run's monitor: the sweep's monitor has all of them."""

    monitor: SweepMonitorHandle
    run: str

    def __getattr__(self, name: str) -> _Method:
        if name.startswith("_"):  # pickle asks for methods of its own
            raise AttributeError(name)
        return _Method(partial(self.monitor.call.remote, self.run, name))


def run_monitor(monitor: SweepMonitorHandle, run: str) -> MonitorHandle:
    """Returns what the workers of a run of the sweep report to."""
    return cast(MonitorHandle, _RunInSweep(monitor, run))
