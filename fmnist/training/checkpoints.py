"""Checkpoints: the exact state of a run after an epoch, or after a step if it was preempted.

Ray Train's own checkpoints are not used: they have no digests, and are kept either by age or by
score. Ours are verified before they are used, and both the newest and the best are kept. They are
in the run's folder in the storage root: `checkpoints/00002` after two epochs, and
`checkpoints/00002.000003` three steps later.
"""

import json
import logging
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_origin, get_type_hints

import numpy as np

from fmnist.errors import StorageError, UserError
from fmnist.runs.history import EpochRow
from fmnist.storage.arrays import read_arrays
from fmnist.storage.atomic import temporary_folder
from fmnist.storage.manifest import (
    MANIFEST,
    delete_other_attempts,
    fetch,
    publish,
    read_manifest,
)
from fmnist.storage.open import Storage
from fmnist.storage.records import check_fields, parse

log = logging.getLogger(__name__)

VARIABLES_FILE = "variables.npz"
STATE_FILE = "progress.json"
NAME_PATTERN = r"[0-9]{5}(?:\.[0-9]{6,})?"


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """Progress of a run: `epoch` whole epochs, and `step` steps of the next one.

    The fields are those of the state's file.
    """

    epoch: int = 0
    step: int = 0
    precision: str  # that the first worker chose for `auto`; a resumed run keeps it
    history: list[EpochRow] = field(default_factory=list)  # a row for each whole epoch
    sums: list[list[float]] = field(default_factory=list)  # each rank's sums for its metrics
    seconds: float = 0.0  # that the `step` steps of the next epoch took

    @property
    def name(self) -> str:
        """Name of its checkpoint; `in_order` says which of two states is the later one."""
        return f"{self.epoch:05d}.{self.step:06d}" if self.step else epoch_name(self.epoch)

    @property
    def best_epoch(self) -> int | None:
        """The epoch of the lowest validation loss, the first of equals; None without validation."""
        validated = [row for row in self.history if "val_loss" in row]
        return min(validated, key=lambda row: row["val_loss"])["epoch"] if validated else None


def in_order(name: str) -> list[int]:
    """A key by which the names of checkpoints sort: a later state comes later."""
    return [int(number) for number in name.split(".")]


def epoch_name(epoch: int) -> str:
    """Name of the checkpoint at the end of an epoch."""
    return f"{epoch:05d}"


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """The checkpoints of one run: keeps the `keep` newest ones and the best by validation loss."""

    storage: Storage
    run: str  # the run's folder in the storage root
    keep: int
    _damaged: set[str] = field(default_factory=set, init=False, compare=False)  # found so far

    def save(self, state: TrainingState, variables: list[np.ndarray]) -> None:
        """Publishes the state, then removes checkpoints that need not be kept.

        An older checkpoint of the same name is replaced only when the new one is complete.
        """
        prefix = self._prefix(state.name)
        with temporary_folder() as folder:
            arrays: dict[str, Any] = {f"{i:05d}": array for i, array in enumerate(variables)}
            np.savez(folder / VARIABLES_FILE, **arrays)
            (folder / STATE_FILE).write_text(json.dumps(asdict(state), allow_nan=False))
            publish(
                self.storage,
                prefix,
                folder,
                kind="checkpoint",
                id=prefix,
                details={"epoch": state.epoch, "step": state.step},
                replace=True,
            )
        self._damaged.discard(state.name)
        self._prune(state)

    def newest(self, *, best: bool = False) -> tuple[TrainingState, list[np.ndarray]] | None:
        """Returns the newest intact state with its variables, or None if there is none.

        Logs a warning for each damaged checkpoint, and skips it. With `best`, the checkpoint of the
        state's best epoch must be intact, too. If it is not, an older state is returned, from
        before that epoch, so that the epoch is trained again.
        """
        for name in reversed(self._names()):
            found = self._load_if_intact(name)
            if found and (not best or self._has_best(found[0])):
                return found
        return None

    def load(self, name: str) -> tuple[TrainingState, list[np.ndarray]]:
        """Returns the state of that name, verified; UserError if it is damaged or not there."""
        prefix = self._prefix(name)
        manifest = read_manifest(self.storage, prefix)
        if manifest is None:
            raise UserError(f"{self.storage.uri}/{prefix}: found no {MANIFEST}, expected one")
        with temporary_folder() as folder:
            path = fetch(self.storage, prefix, manifest, STATE_FILE, folder / STATE_FILE)
            state = _read_state(path, where=f"{self.storage.uri}/{prefix}/{STATE_FILE}")
            path = fetch(self.storage, prefix, manifest, VARIABLES_FILE, folder / VARIABLES_FILE)
            variables = read_arrays(path, where=f"{self.storage.uri}/{prefix}/{VARIABLES_FILE}")
        return state, variables

    def _load_if_intact(self, name: str) -> tuple[TrainingState, list[np.ndarray]] | None:
        if name in self._damaged:
            return None
        try:
            return self.load(name)
        except StorageError:
            raise  # the storage failed, which says nothing about the checkpoint
        except UserError as error:
            log.warning("checkpoint %s is damaged and not used: %s", name, error)
            self._damaged.add(name)
            return None

    def _has_best(self, state: TrainingState) -> bool:
        if state.best_epoch is None:
            return True
        best = epoch_name(state.best_epoch)
        if state.name == best or self._load_if_intact(best):
            return True
        log.warning("checkpoint %s is not used: the best epoch before it is lost", state.name)
        return False

    def _prune(self, state: TrainingState) -> None:
        """Removes all that are not newer than this state, except the newest intact and the best."""
        last = in_order(state.name)
        names = [name for name in self._names(complete=False) if in_order(name) <= last]
        intact = [name for name in self._names() if name in names and name not in self._damaged]
        kept = {*intact[-self.keep :], epoch_name(state.best_epoch or 0)}
        for name in names:
            if name not in kept:
                self.storage.delete(self._prefix(name))

    def remove_leftovers(self) -> None:
        """Removes the files of unfinished saves; called when no worker of the run is left."""
        for name in self._names(complete=False):
            delete_other_attempts(self.storage, self._prefix(name))

    def _names(self, *, complete: bool = True) -> list[str]:
        """Lists the names in order; without `complete`, also those whose save did not finish."""
        folder = f"{self.run}/checkpoints"
        last = re.escape(MANIFEST) if complete else ".*"
        pattern = re.compile(rf"{re.escape(folder)}/({NAME_PATTERN})/{last}")
        found = map(pattern.fullmatch, self.storage.keys(folder))
        return sorted({match[1] for match in found if match}, key=in_order)

    def _prefix(self, name: str) -> str:
        return f"{self.run}/checkpoints/{name}"


def _read_state(path: Path, *, where: str) -> TrainingState:
    """Raises UserError unless the fields have their types, and each epoch its row of numbers."""
    fields = parse(path.read_bytes(), where, "a run's progress")
    hints = get_type_hints(TrainingState)
    check_fields(fields, {name: get_origin(kind) or kind for name, kind in hints.items()}, where)
    state = TrainingState(**fields)
    rows = [row for row in state.history if isinstance(row, dict) and _numbers(row.values())]
    epochs = [row.get("epoch") for row in rows]
    if len(epochs) != state.epoch or epochs != [*range(1, len(epochs) + 1)]:
        raise UserError(f"{where}: expected {state.epoch} rows of numbers, one an epoch")
    if not all(isinstance(sums, list) and _numbers(sums) for sums in state.sums):
        raise UserError(f"{where}: sums is {state.sums!r}, expected lists of numbers")
    return state


def _numbers(values: Iterable[Any]) -> bool:
    return all(type(value) in (int, float) for value in values)
