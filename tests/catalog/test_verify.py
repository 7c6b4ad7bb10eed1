"""Verifying finds each file that is not what was published."""

import pytest

from fmnist.catalog.verify import verify
from fmnist.run_settings import Training
from fmnist.runs.ids import run_folder
from fmnist.storage.manifest import publish_keys, read_manifest
from fmnist.storage.open import Storage, open_storage
from tests.support.scored_runs import publish_scored


@pytest.fixture
def storage(storage_uri: str) -> Storage:
    return open_storage(storage_uri)


def test_damaged_and_missing_files_are_named_and_others_counted(storage: Storage) -> None:
    for seed in range(3):
        publish_scored(storage, Training(seed=seed), accuracy=0.5)
    storage.write("predictions/p/labels/0.parquet", b"labels")
    publish_keys(
        storage, "predictions/p", ["labels/0.parquet"], kind="predictions", id="p", details={}
    )
    storage.write("runs/unfinished/begun.json", b"{}")
    sound = verify(storage)
    assert (sound.results, sound.files, sound.damaged) == (4, 7, [])

    broken, missing, _ = storage.folders("runs")[:3]
    keys = {}
    for run in (broken, missing):
        manifest = read_manifest(storage, run_folder(run))
        assert manifest
        keys[run] = f"{run_folder(run)}/{manifest.files['report.html'].path}"
    data = storage.read(keys[broken])
    storage.write(keys[broken], data[:-1] + b"X")
    storage.delete(keys[missing])
    storage.write("comparisons/c/manifest.json", b"no JSON")
    found = verify(storage)
    assert (found.results, found.files) == (2, 5)
    assert len(found.damaged) == 3 and found.size < sound.size
    for where, part in (
        ("comparisons/c/manifest.json", "found no JSON"),
        (keys[broken], f"found {len(data)} bytes with SHA-256"),
        (keys[missing], "found nothing, expected"),
    ):
        (line,) = [line for line in found.damaged if where in line]
        assert part in line
