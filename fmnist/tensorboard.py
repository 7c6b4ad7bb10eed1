"""TensorBoard logs of a run, kept in its run folder."""

import tempfile
from pathlib import Path

from tensorboardX import SummaryWriter

from fmnist.storage import Storage

TAGS = {
    "loss": "loss/train",
    "accuracy": "accuracy/train",
    "val_loss": "loss/validation",
    "val_accuracy": "accuracy/validation",
    "learning_rate": "learning_rate",
    "images_per_second": "images_per_second",
}


class Scalars:
    """Writes the history as scalars by epoch; each process that trains adds an event file."""

    def __init__(self, storage: Storage, run: str) -> None:
        self._storage, self._run = storage, run
        self._folder = tempfile.TemporaryDirectory(prefix="fmnist-")
        self._writer = SummaryWriter(self._folder.name)

    def write(self, row: dict[str, float]) -> None:
        """Adds one epoch and brings the event file to the storage."""
        for name, tag in TAGS.items():
            if name in row:
                self._writer.add_scalar(tag, row[name], global_step=int(row["epoch"]))
        self._writer.flush()
        for file in Path(self._folder.name).iterdir():
            self._storage.upload(file, f"{self._run}/tensorboard/{file.name}")
