"""The runs that retraining made, each recorded before it trains: only these may be pruned.

A record is the one place where promoting and pruning a run exclude each other. Both change it by
compare-and-swap before they do anything else: `claim` gives it a new content, after which a
pruner that looked earlier no longer can `mark_for_deletion` it; and a marked run can't be claimed. A
pruner leaves runs alone that were touched within a day, so a claim holds for a day, and moving the
pointer takes no longer than that. In this way no champion is ever lost to a prune.
"""

import json
import secrets
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
class Record:
    """`version` is of the record's file, for compare-and-swap."""

    run: str
    marked: bool
    version: str


def registry_folder(task_name: str) -> str:
    """Where in the storage root all that is known of a task's champions lies."""
    return check_key(f"registry/{task_name}")


def record(storage: Storage, task_name: str, run: str) -> None:
    """Notes that retraining is about to train this run, unless somebody else began it already."""
    found = _read(storage, task_name, run)
    if found and found.marked:
        remove(storage, task_name, run)  # what is left of it would be taken for a checkpoint
        found = None
    if found is None and not storage.keys(run_folder(run)):
        storage.create(_key(task_name, run), _content(run, marked=False))


def claim(storage: Storage, task_name: str, run: str) -> None:
    """Keeps a run from being pruned for a day; UserError if it is being pruned."""
    while found := _read(storage, task_name, run):
        if found.marked:
            raise UserError(
                f"{storage.uri}/{run_folder(run)}: is being pruned, expected a finished run"
            )
        if _replace(storage, task_name, found, marked=False):
            return


def mark_for_deletion(storage: Storage, task_name: str, seen: Record) -> Record | None:
    """Keeps a run from being claimed; None if it is not as it was `seen`."""
    if not _replace(storage, task_name, seen, marked=True):
        return None
    return _read(storage, task_name, seen.run)


def unmark(storage: Storage, task_name: str, marked: Record) -> None:
    """Takes back a condemnation."""
    _replace(storage, task_name, marked, marked=False)


def remove(storage: Storage, task_name: str, run: str) -> None:
    """Deletes a run that is marked, and leaves any other alone.

    The manifest goes first, so that nobody takes the rest for a whole run, and the record last, so
    that a removal that was interrupted can be seen and finished.
    """
    found = _read(storage, task_name, run)
    if found is None or not found.marked:  # removed by somebody else, and perhaps trained anew
        return
    storage.delete(f"{run_folder(run)}/{MANIFEST}")
    storage.delete(run_folder(run))
    storage.delete(_key(task_name, run))


def read_records(storage: Storage, task_name: str) -> dict[str, tuple[Record, datetime]]:
    """By run: its record, and when that was last written. UserError names one that is damaged."""
    folder = f"{registry_folder(task_name)}/candidates"
    found = {}
    for key, time in storage.modified(folder).items():
        name = key.removeprefix(f"{folder}/")
        if "/" not in name and name.endswith(SUFFIX):
            run = name.removesuffix(SUFFIX)
            if record := _read(storage, task_name, run):  # or it was just removed
                found[run] = record, time
    return found


def _read(storage: Storage, task_name: str, run: str) -> Record | None:
    key = _key(task_name, run)
    found = read_record(storage, key, FIELDS, "a candidate")
    if found is None:
        return None
    fields = found[0]
    if fields["run"] != run:
        raise UserError(f"{storage.uri}/{key}: run is {fields['run']!r}, expected {run!r}")
    return Record(run=run, marked=fields["marked"], version=found[1])


def _replace(storage: Storage, task_name: str, seen: Record, *, marked: bool) -> bool:
    data = _content(seen.run, marked=marked)
    return storage.replace(_key(task_name, seen.run), data, version=seen.version) is not None


def _content(run: str, *, marked: bool) -> bytes:
    """The token makes each content, and so its version, another one."""
    return json.dumps(
        {"run": run, "marked": marked, "token": secrets.token_hex(8)}, allow_nan=False
    ).encode()


def _key(task_name: str, run: str) -> str:
    return check_key(f"{registry_folder(task_name)}/candidates/{run}{SUFFIX}")
