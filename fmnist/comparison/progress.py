"""Progress of a sweep: an actor that its trials report to, and what a user sees on a terminal.

Tune's own reports are not used: a trial waits until its last report was read, so that it could not
save its state after the driver was interrupted.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol, cast

import ray
from ray import tune
from rich.console import Console
from rich.live import Live
from rich.table import Table

from fmnist.cluster.actors import RemoteMethod, start_lasting_actor
from fmnist.cluster.polling import polling
from fmnist.cluster.progress_bar import POLL_INTERVAL
from fmnist.runs.history import EpochRow
from fmnist.training.monitor import MonitorHandle, RunUpdate, start_run_monitor
from fmnist.training.progress import describe_scores

LOG_LINES = 5  # of a run in a job's log, beside the line of its last epoch


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


def start_sweep_monitor() -> SweepMonitorHandle:
    """Starts a monitor on the caller's node."""
    return cast(SweepMonitorHandle, start_lasting_actor(SweepMonitor))


@contextmanager
def run_monitor(sweep_monitor: SweepMonitorHandle, run: str) -> Iterator[MonitorHandle]:
    """Starts the monitor of one run, and reports its updates to the sweep's monitor meanwhile.

    After a stop was requested of the sweep, the run is asked to stop.
    """
    monitor = start_run_monitor(run)

    def pass_on() -> None:
        with suppress(ray.exceptions.RayError):  # without a monitor the run trains unseen
            update: RunUpdate = ray.get(monitor.read.remote())
            sweep_update = SweepUpdate(run=run, rows=update.rows, notes=update.notes)
            if ray.get(sweep_monitor.report.remote(sweep_update)):
                monitor.request_stop.remote()

    try:
        with polling(pass_on, every=POLL_INTERVAL):
            yield monitor
    finally:
        ray.get(sweep_monitor.end.remote(run))


class SweepProgress(tune.Callback):
    """Shows the runs of a sweep: as a table on a terminal, as a few lines each in a job's log.

    `names` are the names of the runs by id, and `epochs` how many epochs each is to have. Tune
    calls the `on_` methods.
    """

    def __init__(self, names: Mapping[str, str], epochs: Mapping[str, int]) -> None:
        self._names, self._epochs = names, epochs
        self._rows: dict[str, EpochRow] = {}  # the newest of each run
        self._states: dict[str, str] = {}
        self._live: Live | None = None
        self._monitor: SweepMonitorHandle | None = None
        self._last_read = 0.0  # by time.monotonic

    def follow(self, monitor: SweepMonitorHandle) -> None:
        """Sets the monitor whose updates are shown."""
        self._monitor = monitor

    def setup(self, **info: Any) -> None:
        """Opens the console; here, as Tune pickles its callbacks and a console can't be pickled."""
        self._console = Console(soft_wrap=True)
        if self._console.is_terminal:
            self._live = Live(console=self._console, transient=True, auto_refresh=False)
            self._live.start()

    def on_step_end(self, iteration: int, trials: Any, **info: Any) -> None:
        """Shows updates, not more often than runs have them."""
        if time.monotonic() - self._last_read > POLL_INTERVAL:
            self._show_updates()

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Shows that a run is training."""
        self._set_state(trial, "running")

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Shows that a run has ended."""
        self._set_state(trial, "done")

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Shows that a run has failed."""
        self._set_state(trial, "failed")

    def close(self) -> None:
        """Shows the last updates, and removes the table from the terminal."""
        self._show_updates()
        if self._live:
            self._live.stop()

    def _show_updates(self) -> None:
        self._last_read = time.monotonic()
        assert self._monitor, "sweep has called `follow`"
        updates: list[SweepUpdate] = ray.get(self._monitor.read.remote())
        for update in updates:
            every = max(1, self._epochs[update.run] // LOG_LINES)
            for note in update.notes:
                self._print(update.run, note)
            for row in update.rows:
                self._rows[update.run] = row
                if row["epoch"] % every == 0:
                    self._log(update.run, self._scores(update.run))
        self._refresh()

    def _set_state(self, trial: Any, state: str) -> None:
        self._show_updates()
        self._states[trial.config["run"]] = state
        self._log(trial.config["run"], state)
        self._refresh()

    def _log(self, run: str, text: str) -> None:
        """Prints a line in a job's log; on a terminal the table shows the same."""
        if not self._live:
            self._print(run, text)

    def _print(self, run: str, text: str) -> None:
        self._console.print(f"{self._names[run]}: {text}", markup=False, highlight=False)

    def _refresh(self) -> None:
        if self._live:
            self._live.update(self._table(), refresh=True)

    def _table(self) -> Table:
        table = Table("cell", "state", "scores")
        for run, state in self._states.items():
            table.add_row(self._names[run], state, self._scores(run))
        return table

    def _scores(self, run: str) -> str:
        row = self._rows.get(run)
        return f"{describe_scores(row, self._epochs[run])}  {row['seconds']:.1f} s" if row else ""
