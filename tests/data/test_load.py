import dataclasses
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fmnist.data.dataset import Dataset
from fmnist.data.export import export_csv, export_parquet
from fmnist.data.load import find_format, load
from fmnist.data.locations import locate
from fmnist.errors import UserError
from fmnist.tasks import COMPETITION, FASHION
from tests.support.samples import SHAPES, dataset, idx_bytes, write_idx
from tests.support.servers.web import serving

GREY = dataclasses.replace(SHAPES, shape=(12, 20, 1))


def _small_fashion(train: int = 50, test: int = 20) -> Dataset:
    """Makes a data set of the built-in task with ids as the IDX files give them."""
    data = dataset(FASHION, train, test)
    assert data.train is not None and data.test is not None
    return dataclasses.replace(
        data,
        train=dataclasses.replace(data.train, ids=np.arange(train)),
        test=dataclasses.replace(data.test, ids=np.arange(test)),
    )


def test_auto_is_the_official_data_set(fashion: Dataset) -> None:
    assert fashion.train is not None and fashion.test is not None
    assert fashion.train.images.shape == (60_000, 28, 28, 1)
    assert fashion.test.images.shape == (10_000, 28, 28, 1)
    assert fashion.train.labels is not None and fashion.test.labels is not None
    assert np.bincount(fashion.train.labels).tolist() == [6_000] * 10
    assert np.bincount(fashion.test.labels).tolist() == [1_000] * 10


def test_auto_needs_a_task_made_from_the_official_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'shapes' is not made from Fashion-MNIST.*--data"):
        load(SHAPES, cache=tmp_path)


@pytest.mark.parametrize("zipped", [False, True])
def test_idx_files_in_a_folder(tmp_path: Path, zipped: bool) -> None:
    data = _small_fashion()
    write_idx(tmp_path, data, zipped=zipped)
    found = load(FASHION, str(tmp_path))
    assert found.fingerprint == data.fingerprint
    assert found.source == f"idx at {tmp_path}"


def test_idx_files_on_s3(tmp_path: Path, bucket: str, s3_client: Any) -> None:
    data = _small_fashion()
    write_idx(tmp_path, data, zipped=True)
    for path in tmp_path.iterdir():
        s3_client.upload_file(str(path), bucket, f"idx/{path.name}")
    assert load(FASHION, f"s3://{bucket}/idx").fingerprint == data.fingerprint


def test_idx_files_at_an_http_base(tmp_path: Path) -> None:
    data = _small_fashion()
    with serving(tmp_path) as address:
        with pytest.raises(UserError, match=f"{address}: found no IDX files"):
            load(FASHION, address)
        write_idx(tmp_path, data, zipped=True)
        assert load(FASHION, address).fingerprint == data.fingerprint


def test_idx_files_of_one_part_are_enough(tmp_path: Path) -> None:
    write_idx(tmp_path, _small_fashion())
    for path in tmp_path.glob("train*"):
        path.unlink()
    found = load(FASHION, str(tmp_path))
    assert found.train is None
    assert found.test is not None and len(found.test) == 20


def test_half_a_pair_and_counts_that_differ_are_refused(tmp_path: Path) -> None:
    write_idx(tmp_path, _small_fashion())
    labels = tmp_path / "t10k-labels-idx1-ubyte"
    labels.write_bytes(idx_bytes(np.zeros(19)))
    with pytest.raises(UserError, match=r"t10k-images.* has 20 images, .*t10k-labels.* 19 labels"):
        load(FASHION, str(tmp_path))
    labels.unlink()
    with pytest.raises(UserError, match=r"t10k-labels-idx1-ubyte \(or with \.gz\) is missing"):
        load(FASHION, str(tmp_path))


def test_damaged_idx_files_are_named(tmp_path: Path) -> None:
    write_idx(tmp_path, _small_fashion(), zipped=True)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(UserError, match=f"{path}: Compressed file ended before"):
        load(FASHION, str(tmp_path))
    path.write_bytes(gzip.compress(b"something else"))
    with pytest.raises(UserError, match=f"{path}: magic number 0x736f6d65, expected 0x00000803"):
        load(FASHION, str(tmp_path))


def test_an_original_class_is_checked_before_the_rule(tmp_path: Path) -> None:
    data = _small_fashion()
    write_idx(tmp_path, data)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.full(50, 10)))
    with pytest.raises(UserError, match="label 10 in row 0, expected 0 to 9"):
        load(COMPETITION, str(tmp_path))


def test_too_few_rows_for_the_task_are_refused(tmp_path: Path) -> None:
    write_idx(tmp_path, _small_fashion())
    with pytest.raises(
        UserError, match="train files hold 50 images, task 'competition' needs rows"
    ):
        load(COMPETITION, str(tmp_path))


def test_idx_files_are_not_for_a_task_of_ones_own(tmp_path: Path) -> None:
    write_idx(tmp_path, dataset(GREY))
    with pytest.raises(UserError, match="task 'shapes' is not made from Fashion-MNIST's IDX files"):
        load(GREY, str(tmp_path))


def test_a_single_file_is_the_part_to_be_scored(tmp_path: Path) -> None:
    data = dataset()
    export_parquet(data, str(tmp_path / "parquet"))
    export_csv(data, str(tmp_path / "csv"))
    assert data.train is not None
    for file in ("parquet/train/part-00000.parquet", "csv/train.csv"):
        found = load(SHAPES, str(tmp_path / file))
        assert found.train is None
        assert found.test is not None and np.array_equal(found.test.ids, data.train.ids)


def test_a_train_part_without_labels_is_refused(tmp_path: Path) -> None:
    data = dataset()
    assert data.train is not None
    data = dataclasses.replace(data, train=dataclasses.replace(data.train, labels=None))
    export_parquet(data, str(tmp_path))
    with pytest.raises(UserError, match="its train part has no labels"):
        load(SHAPES, str(tmp_path))


@pytest.mark.parametrize(
    ("names", "mistake"),
    [
        ([], "found no data, expected image files, the IDX files"),
        (["readme.txt"], "found no data, expected image files, the IDX files"),
        (["train.csv", "test.parquet"], "found csv and parquet data"),
        (["train-labels-idx1-ubyte.gz", "testX.csv"], "found idx and csv data"),
    ],
)
def test_a_folder_without_one_clear_format_is_refused(
    tmp_path: Path, names: list[str], mistake: str
) -> None:
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=mistake):
        load(FASHION, str(tmp_path))


def test_what_is_not_there_or_no_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: no such file or folder"):
        load(FASHION, str(tmp_path / "nowhere"))
    (tmp_path / "x.zip").touch()
    with pytest.raises(UserError, match=r"x\.zip: expected a folder, or a file that ends in"):
        load(FASHION, str(tmp_path / "x.zip"))


def test_the_format_is_found(tmp_path: Path) -> None:
    export_parquet(dataset(), str(tmp_path / "a"))
    export_csv(dataset(), str(tmp_path / "b"))
    assert find_format(locate(str(tmp_path / "a"))) == "parquet"
    assert find_format(locate(str(tmp_path / "b"))) == "csv"
    assert find_format(locate("http://127.0.0.1/")) == "idx"


def test_a_bucket_or_server_that_is_not_there_is_told_without_secrets(
    s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "do-not-show")
    with pytest.raises(UserError, match=r"^s3://no-such-bucket/x: no such file or folder$"):
        load(FASHION, "s3://no-such-bucket/x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")  # without, it is about half a minute
    with pytest.raises(UserError, match=r"^s3://bucket/x: the connection failed"):
        load(FASHION, "s3://bucket/x")
