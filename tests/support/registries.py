"""Published runs without a model, for tests that only read their manifests."""

import tempfile
from pathlib import Path

from fmnist.runs.ids import run_folder
from fmnist.storage.manifest import publish
from fmnist.storage.open import Storage
from fmnist.tasks import Task
from tests.support.samples import SHAPES


def publish_empty(storage: Storage, run: str, *, task: Task = SHAPES, kind: str = "run") -> None:
    """Publishes a result of that id with one small file."""
    description = {"name": task.name, "classes": task.classes, "shape": task.shape}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "file").write_text(run)
        details = {"task": description}
        publish(storage, run_folder(run), Path(folder), kind=kind, id=run, details=details)
