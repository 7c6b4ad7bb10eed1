"""What a user sees of a sweep while its runs train."""

import logging
import time
from collections.abc import Mapping
from typing import Any

import ray
from ray import tune
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fmnist.cluster.progress_bar import POLL_INTERVAL, format_duration
from fmnist.comparison.monitor import SweepMonitorHandle
from fmnist.runs.history import EpochRow
from fmnist.training.monitor import RunUpdate

log = logging.getLogger(__name__)

FAILURE = "failure"  # in a trial's result: why its run failed
LOG_LINES = 5  # of a run in a job's log, beside the line of its last epoch


class SweepProgress(tune.Callback):
    """Shows the runs of a sweep: those that train in a table on a terminal, else in a few lines.

    `names` are the names of the runs by id, and `epochs` how many epochs each is to have. Tune
    calls the `on_` methods.
    """

    def __init__(self, names: Mapping[str, str], epochs: Mapping[str, int]) -> None:
        self._names, self._epochs = names, epochs
        self._rows: dict[str, EpochRow] = {}  # the newest of each run
        self._training: dict[str, None] = {}  # the runs that train now, in the order of their start
        self._ended: dict[str, str] = {}  # done or failed, by run
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
            self._refresh()

    def on_step_end(self, iteration: int, trials: Any, **info: Any) -> None:
        """Shows updates, not more often than runs have them."""
        if time.monotonic() - self._last_read > POLL_INTERVAL:
            self._show_updates()

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Shows that a run is training."""
        run = trial.config["run"]
        self._training[run] = None
        self._log(run, "running")
        self._refresh()

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Shows that a run has ended."""
        self._end(trial.config["run"], "failed" if FAILURE in trial.last_result else "done")

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Shows that a run has failed."""
        self._end(trial.config["run"], "failed")

    def close(self) -> None:
        """Shows the last updates, and removes the table from the terminal."""
        self._show_updates()
        if self._live:
            self._live.stop()

    def _show_updates(self) -> None:
        self._last_read = time.monotonic()
        assert self._monitor, "sweep has called `follow`"
        updates: dict[str, RunUpdate] = ray.get(self._monitor.read.remote())
        for run, update in updates.items():
            every = max(1, self._epochs[run] // LOG_LINES)
            for warning in update.warnings:
                log.warning("%s: %s", self._names[run], warning)
            for note in update.notes:
                self._print(run, note)
            for row in update.rows:
                self._rows[run] = row
                if row["epoch"] % every == 0:
                    scores = describe_epoch_scores(row, self._epochs[run])
                    self._log(run, f"{scores}  {row['seconds']:.1f} s")
        self._refresh()

    def _end(self, run: str, state: str) -> None:
        self._show_updates()
        self._training.pop(run, None)
        self._ended[run] = state
        row = self._rows.get(run)
        score = f", {describe_score(row)}" if row and self._live else ""  # a log has it already
        self._print(run, f"{state}{score}")
        self._refresh()

    def _log(self, run: str, text: str) -> None:
        """Prints a line in a job's log; on a terminal the table shows the same."""
        if not self._live:
            self._print(run, text)

    def _print(self, run: str, text: str) -> None:
        self._console.print(f"{self._names[run]}: {text}", markup=False, highlight=False)

    def _refresh(self) -> None:
        if self._live:
            summary = Text(self._summary())
            shown = Group(summary, self._table()) if self._training else summary
            self._live.update(shown, refresh=True)

    def _summary(self) -> str:
        """How many runs have ended and train, and about how long the others may take."""
        failed = sum(state == "failed" for state in self._ended.values())
        text = f"{len(self._ended)} of {len(self._names)} runs ended"
        text += f" ({failed} failed)" if failed else ""
        text += f", {len(self._training)} training" if self._training else ", starting"
        return text + (f", about {format_duration(left)} left" if (left := self._left()) else "")

    def _left(self) -> float | None:
        """Seconds for all other epochs, if these take as long as those that were seen."""
        if not self._rows or not self._training:
            return None
        mean = sum(row["seconds"] for row in self._rows.values()) / len(self._rows)
        seconds = 0.0
        for run in self._names.keys() - self._ended.keys():
            row = self._rows.get(run)
            epochs = self._epochs[run] - (row["epoch"] if row else 0)
            seconds += epochs * (row["seconds"] if row else mean)
        return seconds / len(self._training)

    def _table(self) -> Table:
        """The runs that train now, as many as the terminal has lines for."""
        table = Table("training", "epoch", "loss", "score", box=None, pad_edge=False)
        for run in list(self._training)[: max(1, self._console.height - 4)]:
            if row := self._rows.get(run):
                epoch = f"{row['epoch']}/{self._epochs[run]}"
                table.add_row(self._names[run], epoch, f"{row['loss']:.4f}", describe_score(row))
            else:
                table.add_row(self._names[run], "starting")
        return table


def describe_score(row: EpochRow) -> str:
    """Describes the accuracy after an epoch: that on the validation images if there are any."""
    if "val_accuracy" in row:
        return f"validation accuracy {row['val_accuracy']:.2%}"
    return f"training accuracy {row['accuracy']:.2%}"


def describe_epoch_scores(row: EpochRow, epochs: int) -> str:
    """Describes an epoch's number, losses and accuracies."""
    text = f"epoch {row['epoch']}/{epochs}  loss {row['loss']:.4f}"
    text += f"  accuracy {row['accuracy']:.2%}"
    if "val_loss" in row:
        text += f"  validation {row['val_loss']:.4f} {row['val_accuracy']:.2%}"
    return text
