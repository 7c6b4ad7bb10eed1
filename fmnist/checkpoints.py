"""The exact state of a training run after an epoch, in its run folder in the storage root.

Ray Train's own checkpoints have no digests, and are kept either by age or by score. These are
verified before they are used, and both the newest and the best stay.
"""

import json
import logging
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fmnist.errors import UserError
from fmnist.manifest import MANIFEST, fetch, publish, read_manifest
from fmnist.storage import Storage

log = logging.getLogger(__name__)

VARIABLES = "variables.npz"
PROGRESS = "progress.json"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What a run has behind it after `epoch` epochs; `history` has one row for each."""

    epoch: int = 0
    precision: str  # as resolved by the first worker, so that a resumed run keeps to it
    history: list[dict[str, float]] = field(default_factory=list)

    @property
    def best_epoch(self) -> int | None:
        """The epoch of lowest validation loss (the first of equals); None without validation."""
        judged = [row for row in self.history if "val_loss" in row]
        return int(min(judged, key=lambda row: row["val_loss"])["epoch"]) if judged else None


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """The checkpoints of one run; `keep` newest ones stay, and the best by validation loss."""

    storage: Storage
    run: str  # the run's folder in the storage root
    keep: int

    def save(self, progress: Progress, variables: list[np.ndarray]) -> None:
        """Publishes the state after `progress.epoch`, then removes what need not be kept."""
        prefix = self._prefix(progress.epoch)
        # A later epoch's remains are of an attempt that was given up, or damaged.
        self.storage.delete(prefix)
        with tempfile.TemporaryDirectory(prefix="fmnist-") as folder:
            arrays: dict[str, Any] = {f"{i:05d}": array for i, array in enumerate(variables)}
            np.savez(Path(folder, VARIABLES), **arrays)
            Path(folder, PROGRESS).write_text(json.dumps(asdict(progress)))
            publish(
                self.storage,
                prefix,
                Path(folder),
                kind="checkpoint",
                id=prefix,
                details={"epoch": progress.epoch},
            )
        self._prune(progress)

    def newest(self) -> tuple[Progress, list[np.ndarray]] | None:
        """The newest sound state, or None; damaged ones are told of and removed."""
        for epoch in reversed(self._epochs()):
            try:
                return self.load(epoch)
            except UserError as error:
                log.warning("the checkpoint of epoch %d is damaged and not used: %s", epoch, error)
                self.storage.delete(self._prefix(epoch))
        return None

    def load(self, epoch: int) -> tuple[Progress, list[np.ndarray]]:
        """The state after `epoch`, verified; UserError if it is damaged or not there."""
        prefix = self._prefix(epoch)
        manifest = read_manifest(self.storage, prefix)
        if manifest is None:
            raise UserError(f"{self.storage.uri}/{prefix}: found no {MANIFEST}")
        with tempfile.TemporaryDirectory(prefix="fmnist-") as folder:
            fields: Any = json.loads(
                fetch(self.storage, prefix, manifest, PROGRESS, Path(folder, PROGRESS)).read_text()
            )
            path = fetch(self.storage, prefix, manifest, VARIABLES, Path(folder, VARIABLES))
            with np.load(path, allow_pickle=False) as arrays:
                variables = [arrays[name] for name in sorted(arrays.files)]
        return Progress(**fields), variables

    def _prune(self, progress: Progress) -> None:
        epochs = [epoch for epoch in self._epochs() if epoch <= progress.epoch]
        for epoch in epochs[: -self.keep]:
            if epoch != progress.best_epoch:
                self.storage.delete(self._prefix(epoch))

    def _epochs(self) -> list[int]:
        """Epochs with a complete checkpoint, in order."""
        found = [key.split("/") for key in self.storage.keys(f"{self.run}/checkpoints")]
        return sorted(int(parts[-2]) for parts in found if parts[-1] == MANIFEST)

    def _prefix(self, epoch: int) -> str:
        return f"{self.run}/checkpoints/{epoch:05d}"
