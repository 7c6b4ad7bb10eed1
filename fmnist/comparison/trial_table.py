"""What a user sees of a sweep: a table of trials on a terminal, sparse lines in a job's log."""

import time
from typing import Any

import ray
from ray import tune
from rich.console import Console
from rich.live import Live
from rich.table import Table

from fmnist.runs.history import EpochRow
from fmnist.training.progress import POLL_INTERVAL, describe_scores

LINES = 5  # a trial in a log, beside its last


class TrialTable(tune.Callback):
    """Follows the trials of a sweep; `names` are those of the cells by run id."""

    def __init__(self, names: dict[str, str], epochs: int) -> None:
        self._names, self._epochs = names, epochs
        self._rows: dict[str, EpochRow] = {}
        self._states: dict[str, str] = {}
        self._live: Live | None = None
        self._board: Any = None
        self._read = 0.0  # when the monitor was read last

    def follow(self, monitor: Any) -> None:
        """Shows the news on this `SweepMonitor`, by its actor handle."""
        self._board = monitor

    def setup(self, **info: Any) -> None:
        # Not before: Tune pickles its callbacks, and a console can't be.
        self._console = Console(soft_wrap=True)
        if self._console.is_terminal:
            self._live = Live(console=self._console, transient=True, auto_refresh=False)
            self._live.start()

    def on_step_end(self, iteration: int, trials: Any, **info: Any) -> None:
        if time.monotonic() - self._read > POLL_INTERVAL:
            self._show_news()

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._note(trial, "running")

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._note(trial, "done")

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._note(trial, "failed")

    def close(self) -> None:
        """Shows the last news, and gives the terminal back."""
        self._show_news()
        if self._live:
            self._live.stop()

    def _show_news(self) -> None:
        self._read = time.monotonic()
        every = max(1, self._epochs // LINES)
        for news in ray.get(self._board.read.remote()):
            for note in news.notes:
                self._print(news.run, note)
            for row in news.rows:
                self._rows[news.run] = row
                if row["epoch"] % every == 0:
                    self._say(news.run, self._scores(news.run))
        self._show()

    def _note(self, trial: Any, state: str) -> None:
        self._show_news()
        self._states[trial.config["run"]] = state
        self._say(trial.config["run"], state)
        self._show()

    def _say(self, run: str, text: str) -> None:
        """A line in a log; on a terminal the table says it."""
        if not self._live:
            self._print(run, text)

    def _print(self, run: str, text: str) -> None:
        self._console.print(f"{self._names[run]}: {text}", markup=False, highlight=False)

    def _show(self) -> None:
        if self._live:
            self._live.update(self._table(), refresh=True)

    def _table(self) -> Table:
        table = Table("cell", "state", "scores")
        for run, state in self._states.items():
            table.add_row(self._names[run], state, self._scores(run))
        return table

    def _scores(self, run: str) -> str:
        row = self._rows.get(run)
        return f"{describe_scores(row, self._epochs)}  {row['seconds']:.1f} s" if row else ""
