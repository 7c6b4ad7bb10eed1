"""Early stopping of a sweep's runs by ASHA (Li et al., 2018), on the validation loss.

Ray Tune's scheduler decides, but Tune does not stop the trial: it would kill the trial and with it
the controller of the workers, whose resources would then stay taken until the job ends
(ray-project/ray#54305). Instead, rank 0 asks this actor after each epoch, and all ranks save a
checkpoint and end. Started later without early stopping, the run continues from that checkpoint.
"""

from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from fmnist.runs.history import EpochRow

REDUCTION_FACTOR = 4  # one of four runs that reach a rung continues
FIRST_RUNG = REDUCTION_FACTOR**2  # the first rung is after this part of the epochs: a sixteenth


class EarlyStopper:
    """An actor that knows the validation losses of all runs of a sweep so far.

    `known` has the histories, by run id, of the runs that ended before the sweep was started.
    """

    def __init__(self, epochs: int, known: dict[str, list[EpochRow]]) -> None:
        self._epochs = epochs
        self._runs: set[str] = set()
        self._asha = ASHAScheduler(
            time_attr="epoch",
            metric="val_loss",
            mode="min",
            max_t=epochs,
            grace_period=max(1, epochs // FIRST_RUNG),
            reduction_factor=REDUCTION_FACTOR,
        )
        for run, history in known.items():
            for row in history:
                self.should_stop(run, row)

    def should_stop(self, run: str, row: EpochRow) -> bool:
        """Returns True if the run should stop after the epoch that `row` describes."""
        trial: Any = SimpleNamespace(trial_id=run)
        if run not in self._runs:
            self._runs.add(run)
            self._asha.on_trial_add(None, trial)
        decision = self._asha.on_trial_result(None, trial, row)
        return bool(decision == TrialScheduler.STOP) and row["epoch"] < self._epochs
