"""Early stopping of a sweep's runs by ASHA (Li et al., 2018), judged on the validation part.

Ray Tune's scheduler decides, but its way of stopping is not used: it kills the trial, and with it
the controller of the workers, whose resources are then not returned before the job ends
(ray-project/ray#54305). So rank 0 asks the early_stopper after each epoch, and all ranks end by
themselves, with a checkpoint: started without early stopping, such a run goes on from there.
"""

import json
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from fmnist.errors import UserError
from fmnist.runs.history import EpochRow
from fmnist.storage.open import Storage
from fmnist.storage.records import read_record

SHARE = 4  # of the runs that reach a rung, one in so many goes on
FIRST_RUNG = SHARE**2  # the first rung is after this part of the epochs
RECORD = "stopped.json"
FIELDS: dict[str, type] = {"history": list, "parameters": int, "layers": int}
NUMBERS = {"epoch", "loss", "accuracy", "val_loss", "val_accuracy", "seconds"}  # of a row


class EarlyStopper:
    """An actor that knows how all the runs of a sweep of `epochs` epochs have done so far.

    `known` are the histories, by run, of those that came to an end before.
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
            reduction_factor=SHARE,
        )
        for run, history in known.items():
            for row in history:
                self.stops(run, row)

    def stops(self, run: str, row: EpochRow) -> bool:
        """Whether a run ends after the epoch of which `row` is the line of its history."""
        trial: Any = SimpleNamespace(trial_id=run)
        if run not in self._runs:
            self._runs.add(run)
            self._asha.on_trial_add(None, trial)
        decision = self._asha.on_trial_result(None, trial, row)
        return decision == TrialScheduler.STOP and row["epoch"] < self._epochs


def record(storage: Storage, folder: str, details: dict[str, Any]) -> None:
    """Notes that the run in that folder was stopped: its history, parameters and layers."""
    storage.write(f"{folder}/{RECORD}", json.dumps(details, allow_nan=False).encode())


def records(storage: Storage, folders: Iterable[str]) -> dict[str, dict[str, Any]]:
    """What is noted of the runs in these folders that were stopped, by folder."""
    found = {}
    for folder in folders:
        if record := read_record(storage, f"{folder}/{RECORD}", FIELDS, "a stopped run"):
            found[folder] = record[0]
            _check_history(record[0]["history"], f"{storage.uri}/{folder}/{RECORD}")
    return found


def _check_history(history: list[Any], where: str) -> None:
    whole = [row for row in history if isinstance(row, dict) and row.keys() >= NUMBERS]
    numbers = all(type(row[name]) in (int, float) for row in whole for name in NUMBERS)
    if not history or len(whole) < len(history) or not numbers:
        raise UserError(f"{where}: expected a history of {', '.join(sorted(NUMBERS))}")
