"""The file in the folder of a run that a sweep has stopped early: its history and its size."""

import json
from collections.abc import Iterable
from typing import Any, TypedDict, cast

from fmnist.errors import UserError
from fmnist.runs.history import EpochRow
from fmnist.storage.open import Storage
from fmnist.storage.records import read_record

STOPPED = "stopped.json"
FIELDS: dict[str, type] = {"history": list, "parameters": int, "layers": int}
NUMBERS = {"epoch", "loss", "accuracy", "val_loss", "val_accuracy", "seconds"}  # in each row


class StoppedRun(TypedDict):
    """Facts about a run that was stopped early; it has no published result."""

    history: list[EpochRow]
    parameters: int
    layers: int


def write_stopped(storage: Storage, folder: str, stopped: StoppedRun) -> None:
    """Writes that the run in this folder was stopped early."""
    storage.write(f"{folder}/{STOPPED}", json.dumps(stopped, allow_nan=False).encode())


def read_stopped(storage: Storage, folders: Iterable[str]) -> dict[str, StoppedRun]:
    """Returns, by folder, what was written of those runs that were stopped early.

    Raises UserError for a file that does not have what `write_stopped` writes.
    """
    found = {}
    for folder in folders:
        if record := read_record(storage, f"{folder}/{STOPPED}", FIELDS, "a stopped run"):
            _check_history(record[0]["history"], f"{storage.uri}/{folder}/{STOPPED}")
            found[folder] = cast(StoppedRun, record[0])
    return found


def _check_history(history: list[Any], where: str) -> None:
    complete = [row for row in history if isinstance(row, dict) and row.keys() >= NUMBERS]
    numbers = all(type(row[name]) in (int, float) for row in complete for name in NUMBERS)
    if not history or len(complete) < len(history) or not numbers:
        raise UserError(
            f"{where}: its history has other fields, expected numbers: {', '.join(sorted(NUMBERS))}"
        )
