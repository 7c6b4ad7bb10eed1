"""TensorBoard logs of a run, in the run's folder in the storage."""

import tempfile
import time
from pathlib import Path

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.summary import scalar

from fmnist.runs.history import EpochRow
from fmnist.storage.errors import os_errors
from fmnist.storage.open import Storage

TAGS = {
    "loss": "loss/train",
    "accuracy": "accuracy/train",
    "val_loss": "loss/validation",
    "val_accuracy": "accuracy/validation",
    "learning_rate": "learning_rate",
    "images_per_second": "images_per_second",
}


class ScalarWriter:
    """Writes the rows of the history as scalars; each process that trains adds an event file.

    tensorboardX's own writer is not used: it writes in a thread, which a full disk ends silently,
    and for which one cannot wait.
    """

    def __init__(self, storage: Storage, run: str) -> None:
        self._storage, self._run = storage, run
        with os_errors("write TensorBoard logs to a temporary file"):
            self._folder = tempfile.TemporaryDirectory(prefix="fmnist-")
            self._writer = EventsWriter(str(Path(self._folder.name, "events")))

    def write(self, row: EpochRow) -> None:
        """Adds one epoch, and uploads the event file to the storage."""
        with os_errors("write TensorBoard logs to a temporary file"):
            for name, value in row.items():
                if tag := TAGS.get(name):
                    summary, step = scalar(tag, value), row["epoch"]
                    self._writer.write_event(
                        Event(wall_time=time.time(), step=step, summary=summary)
                    )
            self._writer.flush()
        for file in Path(self._folder.name).iterdir():
            self._storage.upload(file, f"{self._run}/tensorboard/{file.name}")
