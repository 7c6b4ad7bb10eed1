"""Finds the run that a flag names."""

from fmnist.runs.ids import run_folder
from fmnist.storage.open import Storage, open_storage


def find_run(run: str, storage: Storage) -> tuple[Storage, str]:
    """Returns the storage that holds a run, and the run's folder in it."""
    parent, separator, name = run.rstrip("/").rpartition("/")
    if not separator:
        return storage, run_folder(run)
    return open_storage(parent or "/", writable=False), name
