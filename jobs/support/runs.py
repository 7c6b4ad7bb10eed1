"""Finds the run that a flag names, and its model."""

from fmnist.runs.ids import run_folder
from fmnist.runs.published import PublishedModel, open_model, task_of_run
from fmnist.storage.open import Storage, open_storage
from fmnist.tasks import find_task


def locate_run(storage: Storage, run: str) -> tuple[Storage, str]:
    """Returns the storage that holds a run, and the run's folder in it."""
    parent, separator, name = run.rstrip("/").rpartition("/")
    if not separator:
        return storage, run_folder(run)
    return open_storage(parent or "/", writable=False), name


def find_model(storage: Storage, run: str, task_name: str | None) -> PublishedModel:
    """Returns a run's model for the task of that name or file, or for the task of the run."""
    models, folder = locate_run(storage, run)
    task = find_task(task_name) if task_name else task_of_run(models, folder)
    return open_model(models, folder, task)
