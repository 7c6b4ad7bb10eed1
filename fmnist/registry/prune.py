"""Which runs of retraining are old enough to go."""

from datetime import UTC, datetime, timedelta

from fmnist.registry.candidates import mark_for_deletion, read_records, remove, unmark
from fmnist.registry.champion import read_champion
from fmnist.runs.ids import run_folder
from fmnist.storage.manifest import MANIFEST, remove_abandoned
from fmnist.storage.open import Storage

YOUNG = timedelta(days=1)  # what was touched within it may still be in the works


def prune(
    storage: Storage,
    task_name: str,
    *,
    keep_champions: int,
    keep_runs: int,
    now: datetime | None = None,
) -> list[str]:
    """Deletes the old runs that `mark_old_for_deletion` finds, and returns their ids, sorted."""
    runs = mark_old_for_deletion(
        storage, task_name, keep_champions=keep_champions, keep_runs=keep_runs, now=now
    )
    for run in runs:
        remove(storage, task_name, run)
    return runs


def mark_old_for_deletion(
    storage: Storage,
    task_name: str,
    *,
    keep_champions: int,
    keep_runs: int,
    now: datetime | None = None,
) -> list[str]:
    """Marks old runs that retraining made, and returns the ids of all to `remove`, sorted.

    Called again before they are removed, it returns the same, so that a job that was killed in
    between says the same of them. There stay the champion, the `keep_champions` runs that rollbacks
    would go back to first, the `keep_runs` newest other finished runs, and whatever was written or
    claimed within a day. How a run that is being promoted meanwhile is safe: see
    `fmnist.registry.candidates`.
    """
    now = now or datetime.now(UTC)
    records = read_records(storage, task_name)  # before the champion, so that a claim is noticed
    times = {run: storage.modified(run_folder(run)) for run in records}
    champions = _champions(storage, task_name, keep_champions)
    kept = champions | _newest(
        {run: files for run, files in times.items() if run not in champions}, keep_runs
    )
    to_remove = []
    for run, (record, written) in sorted(records.items()):
        if not record.marked:  # or else an earlier prune was interrupted
            if run in kept or now - max([written, *times[run].values()]) < YOUNG:
                continue
            changed = mark_for_deletion(storage, task_name, record)
            if changed is None:  # it was claimed, or somebody else prunes it
                continue
            record = changed
        if run in _champions(storage, task_name, keep_champions):
            unmark(storage, task_name, record)
            continue
        to_remove.append(run)
    return to_remove


def remove_remains(storage: Storage, *, now: datetime | None = None) -> None:
    """Removes what killed jobs left half written, unless it was touched within a day.

    That is drafts in a folder, and attempts to publish a retraining or a comparison. A job that is
    started again removes those of its own result at once, but another one may come out then.
    """
    before = (now or datetime.now(UTC)) - YOUNG
    for folder in ("runs", "predictions", "retrainings", "comparisons", "registry"):
        storage.delete_drafts(folder, before=before)
    for folder in ("retrainings", "comparisons"):
        remove_abandoned(storage, folder, before=before)


def _champions(storage: Storage, task_name: str, keep: int) -> set[str]:
    """The champion, and the former ones that are kept."""
    champion = read_champion(storage, task_name)
    if champion is None:
        return set()
    former = [run for run in dict.fromkeys(champion.predecessors) if run != champion.run]
    return {champion.run, *former[:keep]}


def _newest(times: dict[str, dict[str, datetime]], keep: int) -> set[str]:
    """The runs whose manifests were written last."""
    finished = {
        run: files[manifest]
        for run, files in times.items()
        if (manifest := f"{run_folder(run)}/{MANIFEST}") in files
    }
    return set(sorted(finished, key=lambda run: (finished[run], run), reverse=True)[:keep])
