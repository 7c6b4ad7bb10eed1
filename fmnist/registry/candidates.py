"""The runs that retraining made, each registered before it trains: only these may be pruned.

A run must not be promoted and pruned at the same time. A candidate's file prevents that: promoting
and pruning each replace it by compare-and-swap before they do anything else. `protect_from_pruning`
gives the file new content, so that a pruner which read it earlier can no longer mark the run for
deletion; and a run that is marked can't be protected. A pruner skips runs whose file or results
changed within a day, so the protection lasts for a day, and a promotion takes less time than that.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from fmnist.errors import UserError
from fmnist.runs.ids import run_folder
from fmnist.storage.manifest import MANIFEST
from fmnist.storage.open import Storage, check_key
from fmnist.storage.records import read_record

FIELDS: dict[str, type] = {"run": str, "marked": bool, "token": str}
SUFFIX = ".json"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A run that retraining made, and whether it is `marked` for deletion.

    `version` is that of the candidate's file, for compare-and-swap.
    """

    run: str
    marked: bool
    version: str


def registry_folder(task_name: str) -> str:
    """Folder in the storage root that holds a task's champion, candidates and decisions."""
    return check_key(f"registry/{task_name}")


def register_candidate(storage: Storage, task_name: str, run: str) -> None:
    """Registers a run that retraining is about to train, so that it may be pruned later.

    A run that somebody else has begun without registering it stays unregistered.
    """
    found = _read(storage, task_name, run)
    if found and found.marked:
        # Otherwise the training would resume from what a prune has left of the run.
        delete_marked_run(storage, task_name, run)
        found = None
    if found is None and not storage.keys(run_folder(run)):
        storage.create(_key(task_name, run), _content(run, marked=False))


def protect_from_pruning(storage: Storage, task_name: str, run: str) -> None:
    """Keeps a run from being pruned for a day; UserError if it is being pruned already.

    A run that is no candidate is never pruned and needs no protection.
    """
    while found := _read(storage, task_name, run):
        if found.marked:
            raise UserError(
                f"{storage.uri}/{run_folder(run)}: is being pruned, expected a finished run"
            )
        if _replace(storage, task_name, found, marked=False):
            return


def mark_for_deletion(storage: Storage, task_name: str, seen: Candidate) -> Candidate | None:
    """Marks a run, which can't be promoted from then on; None if its file is no longer as `seen`.

    Returns the candidate with its mark.
    """
    if not _replace(storage, task_name, seen, marked=True):
        return None
    return _read(storage, task_name, seen.run)


def unmark(storage: Storage, task_name: str, marked: Candidate) -> None:
    """Takes the mark for deletion off a run."""
    _replace(storage, task_name, marked, marked=False)


def claim_for_deletion(storage: Storage, task_name: str, run: str) -> bool:
    """Marks any run, also one that is no candidate; returns True if it was a candidate before.

    Raises UserError if another job changes the candidate at the same time.
    """
    found = _read(storage, task_name, run)
    if found is None:
        marked = storage.create(_key(task_name, run), _content(run, marked=True))
    else:
        # Also where it is marked: the run may have been trained again since then.
        marked = mark_for_deletion(storage, task_name, found) is not None
    if not marked:
        where = f"{storage.uri}/{run_folder(run)}"
        raise UserError(f"{where}: is being promoted or pruned by another job")
    return found is not None


def release(storage: Storage, task_name: str, run: str, *, keep: bool) -> None:
    """Takes the mark off a run that was claimed; `keep` leaves it a candidate."""
    if not keep:
        storage.delete(_key(task_name, run))
    elif found := _read(storage, task_name, run):
        unmark(storage, task_name, found)


def delete_marked_run(storage: Storage, task_name: str, run: str) -> None:
    """Deletes a run that is marked for deletion; does nothing if it is not marked any more.

    The manifest is deleted first, so that nobody takes the other files for a finished run. The
    candidate's file is deleted last, so that the next prune finishes an interrupted deletion. If
    the run was trained again after such an interruption, only the candidate's file is deleted.
    """
    found = _read(storage, task_name, run)
    # Without a mark, somebody else has deleted the run, and retraining may have made it anew.
    if found is None or not found.marked:
        return
    key = _key(task_name, run)
    marked = storage.modification_times(key).get(key)
    if marked is None:  # another job has deleted the run just now
        return
    if not trained_after(marked, storage.modification_times(run_folder(run))):
        storage.delete(f"{run_folder(run)}/{MANIFEST}")
        storage.delete(run_folder(run))
    storage.delete(key)


def trained_after(marked: datetime, times: Mapping[str, datetime]) -> bool:
    """Returns True if a run, whose files have these times, was trained again after its mark."""
    return max(times.values(), default=marked) > marked


def read_candidates(storage: Storage, task_name: str) -> dict[str, tuple[Candidate, datetime]]:
    """Each candidate by its run, with the time at which its file was written last.

    Raises UserError that names a damaged file.
    """
    folder = f"{registry_folder(task_name)}/candidates"
    found = {}
    for key, time in storage.modification_times(folder).items():
        name = key.removeprefix(f"{folder}/")
        if "/" not in name and name.endswith(SUFFIX):
            run = name.removesuffix(SUFFIX)
            # None if it was deleted after the listing.
            if candidate := _read(storage, task_name, run):
                found[run] = candidate, time
    return found


def _read(storage: Storage, task_name: str, run: str) -> Candidate | None:
    key = _key(task_name, run)
    found = read_record(storage, key, FIELDS, "a candidate")
    if found is None:
        return None
    fields, version = found
    if fields["run"] != run:
        raise UserError(f"{storage.uri}/{key}: run is {fields['run']!r}, expected {run!r}")
    return Candidate(run=run, marked=fields["marked"], version=version)


def _replace(storage: Storage, task_name: str, seen: Candidate, *, marked: bool) -> bool:
    data = _content(seen.run, marked=marked)
    return storage.replace(_key(task_name, seen.run), data, version=seen.version) is not None


def _content(run: str, *, marked: bool) -> bytes:
    """Content of a candidate's file; a random token gives each write another version."""
    return json.dumps(
        {"run": run, "marked": marked, "token": secrets.token_hex(8)}, allow_nan=False
    ).encode()


def _key(task_name: str, run: str) -> str:
    return check_key(f"{registry_folder(task_name)}/candidates/{run}{SUFFIX}")
