"""Removes a run that somebody names, unless it is needed or may be in use."""

from datetime import datetime

from fmnist.catalog.runs import FoundRun
from fmnist.errors import UserError
from fmnist.registry.candidates import claim_for_deletion, delete_marked_run, release
from fmnist.registry.prune import YOUNG, kept_champions
from fmnist.registry.retention_settings import Retention
from fmnist.runs.ids import run_folder
from fmnist.storage.open import Storage


def check_removable(storage: Storage, run: FoundRun, *, now: datetime, force: bool) -> None:
    """Raises UserError for a champion, for one that a rollback returns to, and for a young run.

    A run that changed within a day may be in use by a job; with `force` it is removed too.
    """
    where = f"{storage.uri}/{run_folder(run.id)}"
    if run.champion:
        raise UserError(f"{where}: is the champion, expected another run")
    if run.id in kept_champions(storage, run.task, Retention()):
        raise UserError(f"{where}: was champion, and a rollback may return to it")
    changed = max(storage.modification_times(run_folder(run.id)).values(), default=None)
    if not force and changed and now - changed < YOUNG:
        raise UserError(
            f"{where}: has changed within a day, so that a job may be using it; with --force it is "
            "removed all the same"
        )


def remove_run(storage: Storage, run: FoundRun, *, now: datetime, force: bool = False) -> None:
    """Removes a run, the manifest first: killed in between, it leaves nothing that looks whole.

    The run is marked in the registry before, so that it can't be promoted meanwhile, and the next
    retraining finishes what was interrupted. Raises the errors of `check_removable`.
    """
    check_removable(storage, run, now=now, force=force)
    was_candidate = claim_for_deletion(storage, run.task, run.id)
    if run.id in kept_champions(storage, run.task, Retention()):  # promoted just before
        release(storage, run.task, run.id, keep=was_candidate)
        raise UserError(f"{storage.uri}/{run_folder(run.id)}: was promoted just now")
    delete_marked_run(storage, run.task, run.id)
    if storage.keys(run_folder(run.id)):
        raise UserError(
            f"{storage.uri}/{run_folder(run.id)}: was written to just now, and what is there now "
            "stays; expected a run that no job trains"
        )
