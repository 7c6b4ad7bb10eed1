"""What a user sees of a sweep: a table of trials on a terminal, sparse lines in a job's log."""

from typing import Any

from ray import tune
from rich.console import Console
from rich.live import Live
from rich.table import Table

from fmnist.progress import scores

LINES = 5  # a trial in a log, beside its last


class Trials(tune.Callback):
    """Follows the trials of a sweep; `names` are those of the cells by run id."""

    def __init__(self, names: dict[str, str], epochs: int) -> None:
        self._names, self._epochs = names, epochs
        self._rows: dict[str, dict[str, Any]] = {}
        self._states: dict[str, str] = {}

    def setup(self, **info: Any) -> None:
        # Not before: Tune pickles its callbacks, and a console can't be.
        self._console = Console(soft_wrap=True)
        self._live = Live(console=self._console, transient=True, auto_refresh=False)
        if self._console.is_terminal:
            self._live.start()

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._note(trial, "running")

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        self._rows[trial.config["run"]] = result
        every = max(1, self._epochs // LINES)
        if "epoch" in result and result["epoch"] % every == 0:
            self._say(trial, self._scores(trial.config["run"]))
        self._show()

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._note(trial, "done")

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self._note(trial, "failed")

    def on_experiment_end(self, trials: Any, **info: Any) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def _note(self, trial: Any, state: str) -> None:
        self._states[trial.config["run"]] = state
        self._say(trial, state)
        self._show()

    def _say(self, trial: Any, text: str) -> None:
        if not self._console.is_terminal:
            line = f"{self._names[trial.config['run']]}: {text}"
            self._console.print(line, markup=False, highlight=False)

    def _show(self) -> None:
        if self._console.is_terminal:
            self._live.update(self._table(), refresh=True)

    def _table(self) -> Table:
        table = Table("cell", "state", "scores")
        for run, state in self._states.items():
            table.add_row(self._names[run], state, self._scores(run))
        return table

    def _scores(self, run: str) -> str:
        row = self._rows.get(run, {})
        if "epoch" not in row:
            return ""
        return f"{scores(row, self._epochs)}  {row['seconds']:.1f} s"
