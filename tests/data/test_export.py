import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from fmnist.data.dataset import Dataset
from fmnist.data.export import export_csv, export_parquet
from fmnist.data.load import load
from fmnist.errors import UserError
from fmnist.tasks import COMPETITION, FASHION, Task
from tests.support.samples import SHAPES, dataset


def _digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("task", [SHAPES, FASHION], ids=lambda task: task.name)
def test_parquet_round_trip(tmp_path: Path, task: Task) -> None:
    data = dataset(task)
    export_parquet(data, str(tmp_path / "new" / "out"))
    export_parquet(data, str(tmp_path / "again"))
    found = load(task, str(tmp_path / "again"))
    assert found.fingerprint == data.fingerprint
    assert _digests(tmp_path / "new" / "out") == _digests(tmp_path / "again")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "new"]


def test_the_real_data_set_goes_to_parquet_and_back(tmp_path: Path, competition: Dataset) -> None:
    export_parquet(competition, str(tmp_path))
    assert len(_digests(tmp_path)) == 7  # 60,000 and 10,000 in files of 10,000
    assert load(COMPETITION, str(tmp_path)).fingerprint == competition.fingerprint


def test_parquet_round_trip_on_s3(bucket: str) -> None:
    data, uri = dataset(), f"s3://{bucket}/data/shapes"
    export_parquet(data, uri)
    found = load(SHAPES, uri)
    assert found.fingerprint == data.fingerprint
    assert found.source == f"parquet at {uri}"
    with pytest.raises(UserError, match="is not empty, expected a new folder"):
        export_parquet(data, uri)


def _without_test_labels(data: Dataset) -> Dataset:
    assert data.test is not None
    return dataclasses.replace(data, test=dataclasses.replace(data.test, labels=None))


@pytest.mark.parametrize("place", ["folder", "s3"])
def test_csv_round_trip(place: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    s3 = place == "s3"
    target = f"s3://{request.getfixturevalue('bucket')}/csv" if s3 else str(tmp_path / "csv")
    data = dataset()
    export_csv(data, target)
    found = load(SHAPES, target)
    assert found.fingerprint == _without_test_labels(data).fingerprint
    assert found.source == f"csv at {target}"


@pytest.mark.parametrize("export", [export_parquet, export_csv])
def test_an_export_overwrites_nothing(
    tmp_path: Path, export: Callable[[Dataset, str], None]
) -> None:
    (tmp_path / "mine").write_text("precious")
    for target in (tmp_path, tmp_path / "mine"):
        with pytest.raises(UserError, match=f"{target}: "):
            export(dataset(), str(target))
    with pytest.raises(UserError, match="mine/below: could not be written: "):
        export(dataset(), str(tmp_path / "mine" / "below"))
    with pytest.raises(UserError, match="expected a path, file:// or s3:// to write to"):
        export(dataset(), "http://127.0.0.1/x")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_an_export_that_fails_leaves_nothing(tmp_path: Path) -> None:
    data = dataset()
    assert data.train is not None
    broken = dataclasses.replace(data.train, ids=None)  # the test part is written last
    with pytest.raises(TypeError):
        export_csv(dataclasses.replace(data, test=broken), str(tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []
