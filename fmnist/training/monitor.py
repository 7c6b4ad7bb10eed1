"""The actor through which a run's workers report, and through which its driver tells them to end.

It is an actor because workers and driver are processes on different nodes.
"""

import logging
import time
from typing import NamedTuple, Protocol, cast

import ray

from fmnist.cluster import metrics
from fmnist.cluster.actors import RemoteMethod, start_lasting_actor
from fmnist.runs.history import EpochRow

EPOCH_GAUGES = {  # by the column of the history
    "loss": metrics.TRAINING_LOSS,
    "accuracy": metrics.TRAINING_ACCURACY,
    "val_loss": metrics.VALIDATION_LOSS,
    "val_accuracy": metrics.VALIDATION_ACCURACY,
    "images_per_second": metrics.TRAINING_SPEED,
}


class RunUpdate(NamedTuple):
    """News that a run has reported since the monitor was read last."""

    fraction: float  # of all steps of the run that are done, not only since then
    rows: list[EpochRow]
    notes: list[str]
    warnings: list[str]
    stage: str  # what the workers do; empty while they train


class RunMonitor:
    """Keeps what the workers of run `run` report until the driver reads it, and exports metrics."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._rows: list[EpochRow] = []
        self._last_row: EpochRow | None = None
        self._peak = 0.0  # images a second; 0: not measured yet
        self._notes: list[str] = []
        self._warnings: list[str] = []
        self._fraction = 0.0
        self._stage = "starting"
        self._error: str | None = None
        self._stop_requested = self._preemption_requested = False
        self._last_report: float | None = None  # time of the last report of a worker
        if ray.get_runtime_context().was_current_actor_reconstructed:
            self.add_note("the process that keeps the progress died and was replaced")

    def training_started(self, epoch: int, step: int, startup: dict[str, float]) -> None:
        """Notes that new workers have made their first step, after so many epochs and steps.

        `startup` holds the seconds that each phase of their start took.
        """
        if self._last_report is not None:
            seconds = time.monotonic() - self._last_report
            metrics.SECONDS_LOST.add(seconds, run=self._run)
            phases = {"until Ray started new workers": seconds - sum(startup.values()), **startup}
            self.add_note(
                f"training again after epoch {epoch}, step {step}; {seconds:.1f} s were lost: "
                + ", ".join(f"{value:.1f} s {name}" for name, value in phases.items())
            )
        elif epoch or step:
            self.add_note(f"going on after epoch {epoch}, step {step}")
        self._last_report, self._stage = time.monotonic(), ""
        self._error = None  # of earlier workers, which did not end the run

    def set_stage(self, text: str) -> None:
        """Takes what the workers do from now on, until they have made their first step."""
        self._stage = text

    def set_peak(self, images_per_second: float) -> None:
        """Takes the speed that the workers would have if they did matrix products alone."""
        self._peak = images_per_second

    def step_done(self, fraction: float) -> bool:
        """Takes the fraction of all steps that are done; returns True if the run should end now."""
        self._fraction, self._last_report = fraction, time.monotonic()
        self._export_metrics()
        return self._stop_requested or self._preemption_requested

    def epoch_done(self, row: EpochRow, fraction: float) -> None:
        """Takes the row of an epoch that is done."""
        self._rows.append(row)
        self._fraction, self._last_report = fraction, time.monotonic()
        self._last_row = row
        self._export_metrics()

    def add_note(self, text: str) -> None:
        """Takes a message for the user."""
        self._notes.append(text)

    def add_warning(self, text: str) -> None:
        """Takes a warning for the user, such as of a damaged checkpoint."""
        self._warnings.append(text)

    def report_error(self, message: str) -> None:
        """Takes the message of a UserError that ends a worker."""
        self._error = message

    def last_error(self) -> str | None:
        """Returns the last such message."""
        return self._error

    def request_stop(self) -> None:
        """Asks the workers to save a checkpoint and to end; the run is not started again."""
        self._stop_requested = True

    def stop_requested(self) -> bool:
        """Returns True once `request_stop` has been called."""
        return self._stop_requested

    def request_preemption(self) -> None:
        """Asks the workers to save a checkpoint and to end; new workers continue later."""
        self._preemption_requested = True

    def withdraw_preemption(self) -> None:
        """Lets new workers train."""
        self._preemption_requested = False

    def read(self) -> RunUpdate:
        """Returns what was reported since the last call."""
        rows, self._rows = self._rows, []
        notes, self._notes = self._notes, []
        warnings, self._warnings = self._warnings, []
        return RunUpdate(
            fraction=self._fraction, rows=rows, notes=notes, warnings=warnings, stage=self._stage
        )

    def _export_metrics(self) -> None:
        """Sets all gauges, also those that have not changed: Ray would soon drop them."""
        metrics.TRAINING_PROGRESS.set(self._fraction, run=self._run)
        if self._last_row and self._peak:
            share = self._last_row["images_per_second"] / self._peak
            metrics.SHARE_OF_PEAK.set(share, run=self._run)
        for name, value in (self._last_row or {}).items():
            if gauge := EPOCH_GAUGES.get(name):
                gauge.set(cast(float, value), run=self._run)


class MonitorHandle(Protocol):
    """The actor handle of a `RunMonitor`."""

    training_started: RemoteMethod[[int, int, dict[str, float]]]
    set_stage: RemoteMethod[[str]]
    set_peak: RemoteMethod[[float]]
    step_done: RemoteMethod[[float]]
    epoch_done: RemoteMethod[[EpochRow, float]]
    add_note: RemoteMethod[[str]]
    add_warning: RemoteMethod[[str]]
    report_error: RemoteMethod[[str]]
    last_error: RemoteMethod[[]]
    request_stop: RemoteMethod[[]]
    stop_requested: RemoteMethod[[]]
    request_preemption: RemoteMethod[[]]
    withdraw_preemption: RemoteMethod[[]]
    read: RemoteMethod[[]]


class MonitorLogHandler(logging.Handler):
    """Sends a worker's warnings to the monitor."""

    def __init__(self, monitor: MonitorHandle) -> None:
        super().__init__(logging.WARNING)
        self._monitor = monitor

    def emit(self, record: logging.LogRecord) -> None:
        """Sends one warning."""
        self._monitor.add_warning.remote(record.getMessage())


def start_run_monitor(run: str) -> MonitorHandle:
    """Starts a monitor of the run with this id on the caller's node.

    If its process dies, Ray starts a new one, which has lost the old one's state. So the driver
    shows at once what it reads, and repeats the request that a run stops.
    """
    handle: MonitorHandle = start_lasting_actor(RunMonitor, run)
    return handle
