"""Images in shards are those of the array that was written, wherever the shards are."""

import errno
import io
import itertools
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fmnist.data.dataset import split_rows
from fmnist.data.locations import locate
from fmnist.data.streaming.ahead import ahead
from fmnist.data.streaming.dataset import count_images, open_shards
from fmnist.data.streaming.images import StreamedImages
from fmnist.errors import StorageError, UserError
from fmnist.storage.base import HashingStream
from fmnist.storage.manifest import publish_keys
from fmnist.storage.open import open_storage
from tests.support.samples import SHAPES, dataset
from tests.support.sharded import Sharded, write_shards


@pytest.fixture
def sharded(tmp_path: Path) -> Sharded:
    return Sharded(tmp_path)


def images_of(sharded: Sharded, chosen: np.ndarray | None = None, keep: int = 3) -> StreamedImages:
    everything = np.ones(len(sharded.part), np.bool_)
    return StreamedImages(
        sharded.part, everything if chosen is None else chosen, sharded.cache, keep=keep
    )


def test_images_at_any_positions_are_those_of_the_array(sharded: Sharded) -> None:
    images, expected = images_of(sharded), sharded.data.train
    assert expected is not None and len(images) == 80
    random = np.random.default_rng(0)
    for positions in (random.integers(0, 80, 50), np.arange(5, 31), np.arange(0), np.array([79])):
        assert (images[positions] == expected.images[positions]).all()


def test_a_split_has_its_own_positions(sharded: Sharded) -> None:
    assert sharded.data.train is not None
    rows, held_out = split_rows(80, 0.3)
    assert held_out is not None
    for part in (rows, held_out):
        chosen = np.isin(np.arange(80), part)
        images = images_of(sharded, chosen)
        assert len(images) == len(part) == images.sizes.sum()
        found = images[np.arange(len(part))]
        assert (found == sharded.data.train.images[np.sort(part)]).all()


def test_labels_are_small_and_ids_are_not_kept(sharded: Sharded) -> None:
    assert sharded.data.train is not None and sharded.part.labels is not None
    assert sharded.part.labels.dtype == np.uint8
    assert (sharded.part.labels == sharded.data.train.labels).all()
    assert count_images(locate(str(sharded.folder)), SHAPES) == 80 + 15


def test_shards_that_are_cached_are_not_read_again(sharded: Sharded) -> None:
    expected = images_of(sharded)[np.arange(80)]
    for path in sharded.folder.rglob("*.parquet"):
        path.unlink()
    assert (images_of(sharded)[np.arange(80)] == expected).all()
    next(sharded.cache.folder.glob("*.raw")).unlink()
    with pytest.raises(UserError, match=r"train/part-000\d\d\.parquet: no such file"):
        images_of(sharded)[np.arange(80)]


def test_a_shard_that_changed_is_named(sharded: Sharded) -> None:
    path = sharded.folder / "train" / "part-00003.parquet"
    path.write_bytes(path.read_bytes().replace(b"PAR1", b"PAR2", 1))
    with pytest.raises(UserError, match=r"part-00003\.parquet: has changed: found .* expected"):
        images_of(sharded)[np.arange(80)]
    assert not list(sharded.cache.folder.glob("*.part"))


def test_an_image_of_another_size_is_named(sharded: Sharded) -> None:
    path = sharded.folder / "train" / "part-00001.parquet"
    table = pq.read_table(path)
    images = [value[: -(row == 2) or None] for row, value in enumerate(table["image"].to_pylist())]
    pq.write_table(table.set_column(1, "image", pa.array(images)), path)
    sharded.dataset = open_shards(locate(str(sharded.folder)), SHAPES)
    with pytest.raises(UserError, match=r"part-00001\.parquet: the image in row 2 has 719 bytes"):
        images_of(sharded)[np.arange(80)]


def test_the_fingerprint_follows_from_the_shards_and_not_from_their_place(
    sharded: Sharded, s3_uri: str, tmp_path: Path
) -> None:
    there = write_shards(f"{s3_uri}/shards", sharded.data)
    assert there.fingerprint == sharded.dataset.fingerprint
    other = write_shards(str(tmp_path / "other"), sharded.data, rows=8)
    assert other.fingerprint != there.fingerprint
    part = there.train
    assert part is not None and sharded.data.train is not None
    images = StreamedImages(part, np.ones(80, np.bool_), sharded.cache, keep=2)
    assert (images[np.arange(80)] == sharded.data.train.images).all()


def test_a_manifest_gives_the_digests_and_is_held_to_them(sharded: Sharded, tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    names = [path.relative_to(sharded.folder) for path in sharded.folder.rglob("*.parquet")]
    publish_keys(storage, "shards", map(str, names), kind="dataset", id="shards", details={})
    location = locate(str(sharded.folder))
    assert open_shards(location, SHAPES).fingerprint == sharded.dataset.fingerprint
    path = sharded.folder / "train" / "part-00000.parquet"
    table = pq.read_table(path)
    sink = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({"x": "y"}), sink)
    path.write_bytes(sink.getvalue())
    sharded.dataset = open_shards(location, SHAPES)
    with pytest.raises(UserError, match=r"part-00000\.parquet: has changed"):
        images_of(sharded)[np.arange(80)]


def test_another_programs_manifest_is_none(sharded: Sharded) -> None:
    expected = sharded.dataset.fingerprint
    (sharded.folder / "manifest.json").write_text('{"name": "an extension"}')
    assert open_shards(locate(str(sharded.folder)), SHAPES).fingerprint == expected


def test_a_full_disk_is_not_the_shards_fault(
    sharded: Sharded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(stream: HashingStream, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(HashingStream, "write", full)
    with pytest.raises(StorageError, match=r"^cannot keep shards in .*: No space left on device$"):
        images_of(sharded)[np.arange(80)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop_columns("label"), "some train files have a label column"),
        (lambda table: table.set_column(2, "label", pa.array([9] * 7)), "label 9 in row 0"),
        (lambda table: table.set_column(0, "id", pa.array([1] * 7)), "id 1 is there 7 times"),
        (lambda table: table.drop_columns("image"), "no column 'image'"),
        (lambda table: table.set_column(0, "id", pa.array([None] * 7, pa.int64())), "is null in"),
    ],
    ids=["labels", "label", "ids", "columns", "null"],
)
def test_what_is_wrong_is_one_error_before_training(
    sharded: Sharded, change: object, message: str
) -> None:
    path = sharded.folder / "train" / "part-00002.parquet"
    pq.write_table(change(pq.read_table(path)), path)  # type: ignore[operator]
    with pytest.raises(UserError, match=message):
        open_shards(locate(str(sharded.folder)), SHAPES)


def test_a_data_set_without_labels_is_refused(tmp_path: Path) -> None:
    data = dataset()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="found no train and no test data"):
        open_shards(locate(str(tmp_path / "empty")), SHAPES)
    found = write_shards(str(tmp_path / "s"), type(data)(**{**vars(data), "train": None}))
    with pytest.raises(UserError, match="found no labelled training examples"):
        found.count_labelled()


def test_a_thread_makes_items_ahead_and_hands_on_its_error() -> None:
    made: list[int] = []

    def items() -> object:
        for number in itertools.count():
            if number == 5:
                raise UserError("no more")
            made.append(number)
            yield number

    found = ahead(items(), 2)  # type: ignore[arg-type]
    assert [next(found) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(UserError, match="no more"):
        next(found)
    assert list(ahead(iter(range(9)), 3)) == list(range(9))
