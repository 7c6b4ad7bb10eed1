"""The exact state of a training run after an epoch, or after a step if it was told to end.

Ray Train's own checkpoints have no digests, and are kept either by age or by score. These are
verified before they are used, and both the newest and the best stay. They lie in the run's folder
in the storage root, as `checkpoints/00002` or, three steps later, `checkpoints/00002.000003`.
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

VARIABLES = "variables.npz"
PROGRESS = "progress.json"
NAME = r"[0-9]{5,}(?:\.[0-9]{6})?"  # of a checkpoint, as a pattern


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """What a run has behind it: `epoch` epochs with a row of `history` each, and `step` steps."""

    epoch: int = 0
    step: int = 0
    precision: str  # as resolved by the first worker, so that a resumed run keeps to it
    history: list[dict[str, float]] = field(default_factory=list)
    sums: list[list[float]] = field(default_factory=list)  # each rank's, behind the metrics so far
    seconds: float = 0.0  # of the epoch that `step` steps are done of

    @property
    def name(self) -> str:
        """Of its checkpoint; names are in the order of time."""
        return f"{self.epoch:05d}.{self.step:06d}" if self.step else epoch_name(self.epoch)

    @property
    def best_epoch(self) -> int | None:
        """The epoch of lowest validation loss (the first of equals); None without validation."""
        judged = [row for row in self.history if "val_loss" in row]
        return int(min(judged, key=lambda row: row["val_loss"])["epoch"]) if judged else None


def epoch_name(epoch: int) -> str:
    """The name of the checkpoint at the end of an epoch."""
    return f"{epoch:05d}"


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """The checkpoints of one run; `keep` newest ones stay, and the best by validation loss."""

    storage: Storage
    run: str  # the run's folder in the storage root
    keep: int
    _damaged: set[str] = field(default_factory=set, init=False, compare=False)  # as far as is known

    def save(self, progress: TrainingState, variables: list[np.ndarray]) -> None:
        """Publishes the state, then removes what need not be kept.

        What is there under its name, damaged or of an attempt that was given up, stays until the
        new one is whole.
        """
        prefix = self._prefix(progress.name)
        with temporary_folder() as folder:
            arrays: dict[str, Any] = {f"{i:05d}": array for i, array in enumerate(variables)}
            np.savez(Path(folder, VARIABLES), **arrays)
            Path(folder, PROGRESS).write_text(json.dumps(asdict(progress), allow_nan=False))
            publish(
                self.storage,
                prefix,
                Path(folder),
                kind="checkpoint",
                id=prefix,
                details={"epoch": progress.epoch, "step": progress.step},
                replace=True,
            )
        self._damaged.discard(progress.name)
        self._prune(progress)

    def newest(self, *, best: bool = False) -> tuple[TrainingState, list[np.ndarray]] | None:
        """The newest sound state, or None; damaged ones are told of and passed over.

        With `best`, the best epoch so far must have a sound checkpoint as well: where it has none,
        the state is one from before that epoch, so that the epoch is trained again.
        """
        for name in reversed(self._names()):
            found = self._sound(name)
            if found and (not best or self._has_best(found[0])):
                return found
        return None

    def load(self, name: str) -> tuple[TrainingState, list[np.ndarray]]:
        """The state of that name, verified; UserError if it is damaged or not there."""
        prefix = self._prefix(name)
        manifest = read_manifest(self.storage, prefix)
        if manifest is None:
            raise UserError(f"{self.storage.uri}/{prefix}: found no {MANIFEST}")
        with temporary_folder() as folder:
            path = fetch(self.storage, prefix, manifest, PROGRESS, Path(folder, PROGRESS))
            progress = _read_progress(path, where=f"{self.storage.uri}/{prefix}/{PROGRESS}")
            path = fetch(self.storage, prefix, manifest, VARIABLES, Path(folder, VARIABLES))
            variables = read_arrays(path, where=f"{self.storage.uri}/{prefix}/{VARIABLES}")
        return progress, variables

    def _sound(self, name: str) -> tuple[TrainingState, list[np.ndarray]] | None:
        if name in self._damaged:
            return None
        try:
            return self.load(name)
        except StorageError:
            raise  # it can't be read now, and may be sound
        except UserError as error:
            log.warning("checkpoint %s is damaged and not used: %s", name, error)
            self._damaged.add(name)
            return None

    def _has_best(self, progress: TrainingState) -> bool:
        if progress.best_epoch is None:
            return True
        best = epoch_name(progress.best_epoch)
        if progress.name == best or self._sound(best):
            return True
        log.warning("checkpoint %s is not used: the best epoch before it is lost", progress.name)
        return False

    def _prune(self, progress: TrainingState) -> None:
        """Of what is not newer stay the best, and the newest that are sound as far as is known."""
        names = [name for name in self._names(complete=False) if name <= progress.name]
        sound = [name for name in self._names() if name in names and name not in self._damaged]
        kept = {*sound[-self.keep :], epoch_name(progress.best_epoch or 0)}
        for name in names:
            if name not in kept:
                self.storage.delete(self._prefix(name))

    def tidy(self) -> None:
        """Removes what attempts left that were given up; for when the run is over."""
        for name in self._names(complete=False):
            delete_other_attempts(self.storage, self._prefix(name))

    def _names(self, *, complete: bool = True) -> list[str]:
        """Of the checkpoints, in order; if not `complete`, also of what was begun."""
        folder = f"{self.run}/checkpoints"
        last = re.escape(MANIFEST) if complete else ".*"
        pattern = re.compile(rf"{re.escape(folder)}/({NAME})/{last}")
        found = map(pattern.fullmatch, self.storage.keys(folder))
        return sorted({match[1] for match in found if match})

    def _prefix(self, name: str) -> str:
        return f"{self.run}/checkpoints/{name}"


def _read_progress(path: Path, *, where: str) -> TrainingState:
    """UserError unless its fields have their types, and each epoch its row of numbers."""
    fields = parse(path.read_bytes(), where, "a run's progress")
    hints = get_type_hints(TrainingState)
    check_fields(fields, {name: get_origin(kind) or kind for name, kind in hints.items()}, where)
    progress = TrainingState(**fields)
    rows = [row for row in progress.history if isinstance(row, dict) and _numbers(row.values())]
    epochs = [row.get("epoch") for row in rows]
    if len(epochs) != progress.epoch or epochs != [*range(1, len(epochs) + 1)]:
        raise UserError(f"{where}: expected {progress.epoch} rows of numbers, one an epoch")
    if not all(isinstance(sums, list) and _numbers(sums) for sums in progress.sums):
        raise UserError(f"{where}: sums is {progress.sums!r}, expected lists of numbers")
    return progress


def _numbers(values: Iterable[Any]) -> bool:
    return all(type(value) in (int, float) for value in values)
