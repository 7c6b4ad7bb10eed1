"""Makes checkpoints of any content, intact or damaged."""

import tempfile
from pathlib import Path

from fmnist.storage.manifest import publish
from fmnist.storage.open import LocalStorage
from fmnist.training.checkpoints import STATE_FILE, VARIABLES_FILE, Checkpoints

SAVED = {
    "epoch": 2,
    "step": 7,
    "sums": [[1.5, 2]],
    "seconds": 0.5,
    "precision": "float32",
    "history": [{"epoch": epoch, "loss": 0.5, "val_loss": 0.4} for epoch in (1, 2)],
}


def checkpoint(storage: LocalStorage, progress: bytes, arrays: bytes) -> Checkpoints:
    """Writes a checkpoint of this content with its digests."""
    storage.delete("runs/c")
    with tempfile.TemporaryDirectory() as name:
        Path(name, STATE_FILE).write_bytes(progress)
        Path(name, VARIABLES_FILE).write_bytes(arrays)
        prefix = "runs/c/checkpoints/00002"
        publish(storage, prefix, Path(name), kind="checkpoint", id=prefix, details={})
    return Checkpoints(storage=storage, run="runs/c", keep=2)
