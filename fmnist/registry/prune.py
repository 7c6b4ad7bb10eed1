"""Deletes the old runs that retraining made, in two steps: they are marked, then deleted.

A job publishes the list of the marked runs between the two steps. If it is killed, the next job
finds the same runs marked, and publishes the same list.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from fmnist.registry.candidates import (
    delete_marked_run,
    mark_for_deletion,
    read_candidates,
    trained_after,
    unmark,
)
from fmnist.registry.champion import read_champion
from fmnist.registry.retention_settings import Retention
from fmnist.runs.ids import run_folder
from fmnist.storage.manifest import MANIFEST, delete_abandoned_attempts
from fmnist.storage.open import Storage

# Of the storage root: each holds results of one kind, in a folder of its own each.
RESULT_FOLDERS = ("runs", "comparisons", "predictions", "retrainings", "datasets", "exports")
YOUNG = timedelta(days=1)  # a run that changed within this time may still be in use by a job


def mark_old_runs(
    storage: Storage, task_name: str, retention: Retention, *, now: datetime
) -> list[str]:
    """Marks old runs that retraining made, and returns the ids of all marked runs, sorted.

    These stay: the champion, the `keep_champions` runs that rollbacks would return to first, the
    `keep_runs` newest other finished runs, and all that was written or protected within a day
    before `now`. `fmnist.registry.candidates` says why a run that is being promoted at the same
    time is safe.
    """
    # Candidates are read before the champion: a promotion after this has changed a candidate's
    # file, and then that candidate can't be marked.
    candidates = read_candidates(storage, task_name)
    times = {run: storage.modification_times(run_folder(run)) for run in candidates}
    champions = kept_champions(storage, task_name, retention)
    others = {run: files for run, files in times.items() if run not in champions}
    kept = champions | _newest_finished(others, retention.keep_runs)
    marked_runs = []
    for run, (candidate, written) in sorted(candidates.items()):
        # A run that is marked already is left from a prune that was interrupted.
        if candidate.marked:
            if trained_after(written, times[run]):
                delete_marked_run(storage, task_name, run)  # deletes the mark alone
                continue
        else:
            if run in kept or now - max([written, *times[run].values()]) < YOUNG:
                continue
            marked = mark_for_deletion(storage, task_name, candidate)
            if marked is None:  # it is being promoted, or another job prunes it
                continue
            candidate = marked
        if run in kept_champions(storage, task_name, retention):
            unmark(storage, task_name, candidate)
            continue
        marked_runs.append(run)
    return marked_runs


def delete_marked_runs(storage: Storage, task_name: str, runs: Iterable[str]) -> None:
    """Deletes those of the runs that are still marked for deletion."""
    for run in runs:
        delete_marked_run(storage, task_name, run)


def delete_leftovers(storage: Storage, *, now: datetime) -> None:
    """Deletes what killed jobs left half written, unless it was written within a day before `now`.

    These are unfinished files in a folder, and attempts to publish a retraining, a comparison or
    an export. A job that is started again deletes those of its own result at once; but its result
    may have another id by then, and nobody else would delete them.
    """
    before = now - YOUNG
    for folder in (*RESULT_FOLDERS, "registry"):
        storage.delete_unfinished(folder, before=before)
    for folder in ("retrainings", "comparisons", "exports"):
        delete_abandoned_attempts(storage, folder, before=before)


def kept_champions(storage: Storage, task_name: str, retention: Retention) -> set[str]:
    """The champion, and the former champions that stay for rollback."""
    champion = read_champion(storage, task_name)
    if champion is None:
        return set()
    former = [run for run in dict.fromkeys(champion.predecessors) if run != champion.run]
    return {champion.run, *former[: retention.keep_champions]}


def _newest_finished(times: dict[str, dict[str, datetime]], keep: int) -> set[str]:
    """The `keep` runs whose manifests were written last; `times` has those of each run's files."""
    finished = {
        run: files[manifest]
        for run, files in times.items()
        if (manifest := f"{run_folder(run)}/{MANIFEST}") in files
    }
    return set(sorted(finished, key=lambda run: (finished[run], run), reverse=True)[:keep])
