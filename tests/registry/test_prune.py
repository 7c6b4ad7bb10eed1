"""Pruning removes old runs and leftovers, and never removes anything that is in use."""

import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

import fmnist.registry.prune
from fmnist.errors import UserError
from fmnist.registry.candidates import (
    mark_for_deletion,
    protect_from_pruning,
    read_candidates,
    register_candidate,
)
from fmnist.registry.champion import promote, read_champion, rollback
from fmnist.registry.prune import delete_leftovers, delete_marked_runs, mark_old_runs
from fmnist.registry.retention_settings import Retention
from fmnist.storage.manifest import publish, read_manifest
from fmnist.storage.open import Storage, open_storage
from tests.support.registries import publish_empty

TOMORROW = datetime.now(UTC) + timedelta(days=1, hours=1)


@pytest.fixture
def storage(storage_uri: str) -> Storage:
    return open_storage(storage_uri)


def candidate(storage: Storage, *runs: str) -> None:
    """Publishes finished runs as retraining makes them, from old to new."""
    for run in runs:
        register_candidate(storage, "shapes", run)
        publish_empty(storage, run)


def promote_each(storage: Storage, *runs: str) -> None:
    for run in runs:
        expected = read_champion(storage, "shapes")
        assert promote(storage, "shapes", run, expected=expected, command="a test")


def pruned(storage: Storage, *, champions: int = 0, runs: int = 0, now=TOMORROW) -> str:
    """Prunes as `retrain` does it, and returns the names of the deleted runs."""
    retention = Retention(keep_champions=champions, keep_runs=runs)
    found = mark_old_runs(storage, "shapes", retention, now=now)
    delete_marked_runs(storage, "shapes", found)
    return "".join(found)


def left(storage: Storage) -> set[str]:
    """Returns the runs that have files left."""
    return {key.split("/")[1] for key in storage.keys("runs")}


def test_old_candidates_go_with_all_that_is_theirs(storage: Storage) -> None:
    candidate(storage, "a", "b")
    storage.write("runs/a/checkpoints/00001/state", b"")
    storage.write("runs/ab", b"no part of a")
    assert pruned(storage) == "ab"
    assert storage.keys() == ["runs/ab"]
    assert pruned(storage) == ""


def test_never_the_champion(storage: Storage) -> None:
    candidate(storage, "a", "b")
    promote_each(storage, "a")
    assert pruned(storage) == "b"
    assert read_manifest(storage, "runs/a")


def test_never_the_predecessors_kept_for_rollback(storage: Storage) -> None:
    candidate(storage, *"abcd")
    promote_each(storage, *"abcd")
    assert pruned(storage, champions=2) == "a"
    assert rollback(storage, "shapes", command="a test").run == "c"
    assert rollback(storage, "shapes", command="a test").run == "b"
    with pytest.raises(UserError, match="runs/a: found no manifest"):
        rollback(storage, "shapes", command="a test")


def test_who_was_rolled_back_is_no_predecessor(storage: Storage) -> None:
    candidate(storage, *"abc")
    promote_each(storage, *"abc")
    rollback(storage, "shapes", command="a test")
    assert pruned(storage, champions=1) == "c"


def test_the_champion_is_not_counted_among_its_predecessors(storage: Storage) -> None:
    candidate(storage, *"ab")
    promote_each(storage, *"aba")
    assert pruned(storage, champions=1) == ""


def test_never_the_newest_finished_candidates(storage: Storage, monkeypatch) -> None:
    candidate(storage, *"abc")
    register_candidate(storage, "shapes", "unfinished")
    times = {"a": 3, "b": 1, "c": 2}
    real = type(storage).modification_times

    def modification_times(self, prefix: str):
        begin = datetime.now(UTC)
        return {
            key: begin + timedelta(minutes=times.get(key.split("/")[1], 0))
            for key in real(self, prefix)
        }

    monkeypatch.setattr(type(storage), "modification_times", modification_times)
    assert pruned(storage, runs=2) == "bunfinished"


def test_never_what_was_touched_within_a_day(storage: Storage) -> None:
    register_candidate(storage, "shapes", "a")
    storage.write("runs/a/checkpoints/00001/state", b"")
    candidate(storage, "b")
    soon = datetime.now(UTC) + timedelta(hours=23)
    assert pruned(storage, now=soon) == pruned(storage, now=datetime.now(UTC)) == ""
    assert left(storage) == {"a", "b"}
    assert pruned(storage) == "ab"


def test_what_killed_jobs_left_half_written_goes_after_a_day(
    storage: Storage, tmp_path: Path
) -> None:
    """Attempts that a manifest names stay; if the manifest is damaged, all attempts stay."""
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "page").write_bytes(b"a result")
    make = partial(publish, storage, folder=tmp_path / "made", kind="a test", details={})
    folders = ("retrainings", "comparisons", "exports")
    for folder in folders:
        for name in ("whole", "damaged", "alone"):
            make(f"{folder}/{name}", id=name)
        for name in ("whole", "damaged"):
            storage.write(f"{folder}/{name}/0123abcd/page", b"half a result")
        storage.write(f"{folder}/damaged/manifest.json", b"{")
        storage.write(f"{folder}/none/0123abcd/page", b"half a result")
    kept = set(storage.keys()) - {
        f"{folder}/{name}/0123abcd/page" for folder in folders for name in ("whole", "none")
    }
    soon = datetime.now(UTC) + timedelta(hours=23)
    before = storage.keys()
    delete_leftovers(storage, now=soon)
    assert storage.keys() == before
    delete_leftovers(storage, now=TOMORROW)
    assert set(storage.keys()) == kept


def test_drafts_of_killed_writers_go_after_a_day(tmp_path: Path) -> None:
    """Unfinished files in the root stay: the lock, and marks of jobs that may run for days."""
    storage = open_storage(str(tmp_path))
    for folder in ("", "runs/a", "predictions/b/labels", "datasets/c/train", "exports/d"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / ".fmnist-0123").write_bytes(b"half a file")
    storage.write("runs/a/model", b"a file")
    files = {path for path in tmp_path.rglob("*") if path.is_file()}
    delete_leftovers(storage, now=datetime.now(UTC) + timedelta(hours=23))
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == files
    delete_leftovers(storage, now=TOMORROW)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {".fmnist-0123", ".fmnist-lock", "runs/a/model"}


def test_never_what_others_made(storage: Storage) -> None:
    publish_empty(storage, "by-hand")
    storage.write("runs/begun/checkpoints/00001/state", b"")
    for run in ("by-hand", "begun"):
        register_candidate(storage, "shapes", run)  # as when the same recipe was trained before
    publish_empty(storage, "of-another-task")
    register_candidate(storage, "fashion", "new")
    storage.write("runs/new/checkpoints/00001/state", b"")
    before = storage.keys()
    assert pruned(storage) == ""
    assert storage.keys() == before


def test_never_what_is_claimed_between_the_look_and_the_deletion(
    storage: Storage, monkeypatch
) -> None:
    candidate(storage, "a")

    def late(*args: object) -> object:
        promote_each(storage, "a")
        return mark_for_deletion(*args)

    monkeypatch.setattr(fmnist.registry.prune, "mark_for_deletion", late)
    assert pruned(storage) == ""
    assert read_champion(storage, "shapes").run == "a" and read_manifest(storage, "runs/a")


def test_what_is_marked_is_never_promoted(storage: Storage) -> None:
    candidate(storage, "a")
    assert mark_for_deletion(storage, "shapes", read_candidates(storage, "shapes")["a"][0])
    with pytest.raises(UserError, match="runs/a: is being pruned"):
        promote_each(storage, "a")
    assert read_champion(storage, "shapes") is None


def test_an_interrupted_prune_is_never_seen_as_whole_and_is_finished(
    storage: Storage, monkeypatch
) -> None:
    candidate(storage, "a")
    storage.write("runs/a/checkpoints/00001/state", b"")
    delete = type(storage).delete

    def fail(self, prefix: str) -> None:
        if prefix == "runs/a":
            raise UserError("the network is gone")
        delete(self, prefix)

    with monkeypatch.context() as patch, pytest.raises(UserError, match="network"):
        patch.setattr(type(storage), "delete", fail)
        pruned(storage)
    assert left(storage) == {"a"} and read_manifest(storage, "runs/a") is None
    assert pruned(storage, runs=9, now=datetime.now(UTC)) == "a"
    assert storage.keys() == []


def test_what_is_marked_is_named_again_until_it_is_removed(storage: Storage) -> None:
    """A job that is killed before the removal reports the same runs when it is started again."""
    candidate(storage, *"ab")
    retention = Retention(keep_champions=0, keep_runs=0)
    for now in (TOMORROW, datetime.now(UTC)):
        found = mark_old_runs(storage, "shapes", retention, now=now)
        assert found == ["a", "b"] and left(storage) == {"a", "b"}
    register_candidate(storage, "shapes", "a")  # trained anew meanwhile
    publish_empty(storage, "a")
    delete_marked_runs(storage, "shapes", found)
    assert left(storage) == {"a"} and read_manifest(storage, "runs/a")


def test_a_run_that_was_half_removed_is_trained_from_the_beginning(storage: Storage) -> None:
    candidate(storage, "a")
    mark_for_deletion(storage, "shapes", read_candidates(storage, "shapes")["a"][0])
    register_candidate(storage, "shapes", "a")
    assert left(storage) == set()
    protect_from_pruning(storage, "shapes", "a")


def test_a_run_that_was_trained_again_after_its_mark_stays(storage: Storage) -> None:
    candidate(storage, "a", "b")
    for run in "ab":
        mark_for_deletion(storage, "shapes", read_candidates(storage, "shapes")[run][0])
        storage.delete(f"runs/{run}")
    time.sleep(1.1)  # a store tells times in seconds
    publish_empty(storage, "a")
    assert pruned(storage) == "b" and left(storage) == {"a"}
    assert not read_candidates(storage, "shapes")


def test_a_run_that_was_trained_again_after_its_mark_is_not_begun_anew(storage: Storage) -> None:
    candidate(storage, "a")
    mark_for_deletion(storage, "shapes", read_candidates(storage, "shapes")["a"][0])
    storage.delete("runs/a")
    time.sleep(1.1)
    publish_empty(storage, "a")
    register_candidate(storage, "shapes", "a")
    assert left(storage) == {"a"} and not read_candidates(storage, "shapes")


@pytest.mark.parametrize(
    "content", [b"{", b'{"run": "a"}', b'{"run":"b","marked":false,"token":""}']
)
def test_a_damaged_record_is_named(storage: Storage, content: bytes) -> None:
    storage.write("registry/shapes/candidates/a.json", content)
    with pytest.raises(UserError, match=r"registry/shapes/candidates/a\.json: "):
        pruned(storage)
