"""The list of runs: their states, champions and scores; nothing but names and manifests is read."""

from pathlib import Path
from typing import Any

import pytest

from fmnist.catalog.runs import best_run, find_run, list_runs
from fmnist.catalog.text import run_text, runs_table
from fmnist.errors import StorageError, UserError
from fmnist.registry.champion import promote
from fmnist.run_settings import Training
from fmnist.storage.open import Storage, open_storage
from tests.support.registries import publish_empty
from tests.support.scored_runs import publish_scored

CNN, DENSE = Training(), Training(architecture="dense", seed=3)


@pytest.fixture
def storage(storage_uri: str) -> Storage:
    return open_storage(storage_uri)


def test_finished_unfinished_and_damaged_runs_are_told_apart(storage: Storage) -> None:
    assert list_runs(storage) == []
    cnn, dense = (publish_scored(storage, each, accuracy=0.5) for each in (CNN, DENSE))
    assert promote(storage, "shapes", dense, expected=None, command="a test")
    storage.write("runs/shapes-cnn-000000000000/begun.json", b"{}")
    storage.write("runs/shapes-cnn-333333333333/lease.json", b"{}")
    storage.write("runs/shapes-cnn-111111111111/manifest.json", b"half of it")
    publish_empty(storage, "shapes-cnn-222222222222", kind="comparison")

    runs = {run.id: run for run in list_runs(storage)}
    assert list(runs) == sorted(runs)
    states = {run.id: (run.state, run.champion) for run in runs.values()}
    assert states == {
        cnn: ("finished", False),
        dense: ("finished", True),
        "shapes-cnn-000000000000": ("unfinished", False),
        "shapes-cnn-111111111111": ("damaged", False),
        "shapes-cnn-222222222222": ("damaged", False),
        "shapes-cnn-333333333333": ("training", False),
    }
    assert (runs[dense].task, runs[dense].architecture) == ("shapes", "dense")
    assert "found no JSON" in str(runs["shapes-cnn-111111111111"].problem)
    lines = runs_table(list(runs.values())).splitlines()
    (line,) = [line for line in lines if line.startswith(dense)]
    assert line.split() == [dense, "*", "2026-01-31", "50.00%", "50.00%", "400", "3"]
    assert "* champion" in lines
    assert sum(line.startswith("damaged: ") for line in lines) == 2
    assert max(map(len, lines[:6])) <= 80


def test_a_run_whose_job_is_silent_does_not_train(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.write("runs/shapes-cnn-0/lease.json", b"{}")
    monkeypatch.setattr("fmnist.storage.lease.EXPIRY", -1.0)
    assert [run.state for run in list_runs(storage)] == ["unfinished"]


def test_a_run_of_an_earlier_version_has_no_date(storage: Storage) -> None:
    publish_empty(storage, "shapes-cnn-0")
    (run,) = list_runs(storage)
    assert runs_table([run]).splitlines()[1].split()[:2] == ["shapes-cnn-0", "finished"]
    assert run_text(run, storage.uri).startswith("shapes-cnn-0: finished\n")


def test_the_text_of_a_run_fits_a_terminal(storage: Storage) -> None:
    run = find_run(storage, publish_scored(storage, CNN, accuracy=0.75))
    text = run_text(run, storage.uri)
    assert "finished at 2026-01-31T12:00:00+00:00" in text
    assert "75.00%" in text and "learning_rate" in text and "metrics.json" in text
    *lines, place = text.splitlines()
    assert max(map(len, lines)) <= 80
    (key,) = [key for key in storage.keys("runs") if key.endswith("report.html")]
    assert place == f"files in {storage.uri}/{key.removesuffix('/report.html')}"


def test_a_mistyped_id_names_the_nearest(storage: Storage) -> None:
    run = publish_scored(storage, CNN, accuracy=0.5)
    with pytest.raises(UserError, match=f"similar id: {run}"):
        find_run(storage, run[:-1])
    for name in ("nothing", "../runs", "a/b"):
        with pytest.raises(UserError):
            find_run(storage, name)


def test_the_best_is_that_of_the_part(storage: Storage) -> None:
    publish_scored(storage, CNN, accuracy=0.5)
    better = publish_scored(storage, DENSE, accuracy=0.6)
    assert best_run(list_runs(storage), "validation").id == better
    with pytest.raises(UserError, match="no finished run with a score on the test images"):
        best_run([], "test")


def test_what_a_manifest_claims_is_not_trusted(storage: Storage) -> None:
    publish_empty(storage, "odd")
    (run,) = list_runs(storage)
    assert (run.score("test"), run.config, run.architecture) == (None, {}, "")
    assert "odd" in runs_table([run]) and "odd: finished" in run_text(run, storage.uri)


def test_other_objects_cost_nothing(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    publish_scored(storage, CNN, accuracy=0.5)
    for number in range(20):
        storage.write(f"runs/{list_runs(storage)[0].id}/checkpoints/{number:05}/state", b"")

    def forbidden(*_: Any) -> None:
        raise AssertionError("every object is listed")

    for name in ("keys", "modification_times"):
        monkeypatch.setattr(type(storage), name, forbidden)
    assert len(list_runs(storage)) == 1


def test_a_storage_that_fails_is_no_damaged_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = open_storage(str(tmp_path))
    publish_scored(storage, CNN, accuracy=0.5)

    def fails(*_: Any) -> None:
        raise StorageError("the disk has failed")

    monkeypatch.setattr(type(storage), "read_version", fails)
    with pytest.raises(StorageError):
        list_runs(storage)
