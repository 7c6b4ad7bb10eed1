"""Removing a run: what is never removed, and what a kill in between leaves."""

from datetime import UTC, datetime, timedelta

import pytest

from fmnist.catalog.remove import remove_run
from fmnist.catalog.runs import find_run
from fmnist.errors import UserError
from fmnist.registry.candidates import read_candidates, register_candidate
from fmnist.registry.champion import promote, read_champion
from fmnist.run_settings import Architecture, Training
from fmnist.runs.ids import run_folder
from fmnist.storage.manifest import read_manifest
from fmnist.storage.open import Storage, open_storage
from tests.support.scored_runs import publish_scored

TOMORROW = datetime.now(UTC) + timedelta(days=1, hours=1)


@pytest.fixture
def storage(storage_uri: str) -> Storage:
    return open_storage(storage_uri)


def publish(storage: Storage, count: int, architecture: Architecture = "cnn") -> list[str]:
    trainings = [Training(architecture=architecture, seed=seed) for seed in range(count)]
    return [publish_scored(storage, training, accuracy=0.5) for training in trainings]


def remove(storage: Storage, run: str, *, now: datetime = TOMORROW, force: bool = False) -> None:
    remove_run(storage, find_run(storage, run), now=now, force=force)


def test_a_run_goes_with_all_that_is_its_own(storage: Storage) -> None:
    kept, gone = publish(storage, 2)
    storage.write(f"runs/{gone}/checkpoints/00001/state", b"")
    register_candidate(storage, "shapes", gone)
    remove(storage, gone)
    assert storage.folders("runs") == [kept]
    assert read_candidates(storage, "shapes") == {}


@pytest.mark.parametrize("architecture", ["cnn", "convnet", "convnet-small", "resnet9-brightness"])
def test_champions_stay(storage: Storage, architecture: Architecture) -> None:
    first, second, other = publish(storage, 3, architecture)
    for run in (first, second):
        expected = read_champion(storage, "shapes")
        assert promote(storage, "shapes", run, expected=expected, command="a test")
    with pytest.raises(UserError, match="is the champion"):
        remove(storage, second, force=True)
    with pytest.raises(UserError, match="a rollback may return to it"):
        remove(storage, first, force=True)
    remove(storage, other)
    assert storage.folders("runs") == sorted([first, second])


def test_what_changed_within_a_day_needs_force(storage: Storage) -> None:
    (run,) = publish(storage, 1)
    soon = datetime.now(UTC) + timedelta(hours=1)
    with pytest.raises(UserError, match="within a day"):
        remove(storage, run, now=soon)
    assert read_manifest(storage, run_folder(run))
    remove(storage, run, now=soon, force=True)
    assert storage.folders("runs") == []


def test_unfinished_and_damaged_runs_can_be_removed(storage: Storage) -> None:
    for name in ("shapes-cnn-000000000000", "odd"):
        storage.write(f"runs/{name}/manifest.json", b"no JSON")
        remove(storage, name)
    storage.write("runs/shapes-cnn-1/begun.json", b"{}")
    remove(storage, "shapes-cnn-1")
    assert storage.keys() == []


def test_killed_in_between_it_leaves_nothing_that_looks_whole(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = publish(storage, 1)
    real, deleted = type(storage).delete, []

    def dies(self: Storage, prefix: str) -> None:
        if deleted:
            raise KeyboardInterrupt
        deleted.append(prefix)
        real(self, prefix)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(type(storage), "delete", dies)
        remove(storage, run)
    assert deleted == [f"runs/{run}/manifest.json"]
    assert read_manifest(storage, run_folder(run)) is None
    with pytest.raises(UserError, match="being pruned"):
        promote(storage, "shapes", run, expected=None, command="a test")
    remove(storage, run)
    assert storage.keys() == []


def test_a_run_that_is_promoted_just_before_stays(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = publish(storage, 1)
    found = find_run(storage, run)
    promote(storage, "shapes", run, expected=None, command="a test")
    monkeypatch.setattr("fmnist.catalog.remove.check_removable", lambda *_, **__: None)
    with pytest.raises(UserError, match="was promoted just now"):
        remove_run(storage, found, now=TOMORROW)
    assert read_manifest(storage, run_folder(run))
    assert read_candidates(storage, "shapes") == {}


def test_a_run_that_is_written_to_meanwhile_is_not_said_to_be_gone(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = publish(storage, 1)
    monkeypatch.setattr("fmnist.registry.candidates.trained_after", lambda *_: True)
    with pytest.raises(UserError, match="was written to just now"):
        remove(storage, run, force=True)
    assert read_manifest(storage, run_folder(run))
