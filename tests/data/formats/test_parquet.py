from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import fs
from pyarrow import parquet as pq

from fmnist.data.dataset import Examples
from fmnist.data.formats.parquet import find_parquet_files, read_part, write_part
from fmnist.data.formats.parquet_schema import check_table, to_table
from fmnist.data.locations import locate
from fmnist.errors import UserError
from tests.support.samples import SHAPES, examples

PART = examples(SHAPES, 30)
TABLE = to_table(PART)


def _replaced(name: str, values: Any) -> pa.Table:
    return TABLE.set_column(TABLE.schema.get_field_index(name), name, values)


def _same(found: Examples, expected: Examples) -> bool:
    pairs = ((found.ids, expected.ids), (found.images, expected.images))
    labels = np.array_equal(np.array(found.labels), np.array(expected.labels))
    return labels and all(np.array_equal(ours, theirs) for ours, theirs in pairs)


@pytest.mark.parametrize(
    "kind", [pa.binary(), pa.large_binary(), pa.binary(720)], ids=["binary", "large", "fixed"]
)
def test_every_binary_type_and_any_slice_is_read(kind: pa.DataType) -> None:
    table = _replaced("image", TABLE["image"].cast(pa.binary()).cast(kind))
    chunked = pa.concat_tables([table.slice(0, 7), table.slice(7, 0), table.slice(7)])
    for found in (table, chunked):
        assert _same(check_table(found, SHAPES, where="t"), PART)
    rows = np.arange(11, 20)
    assert _same(check_table(table.slice(11, 9), SHAPES, where="t"), PART.take(rows))
    batch = table.to_batches()[0].slice(11, 9)
    assert _same(check_table(batch, SHAPES, where="t"), PART.take(rows))


def test_a_table_without_rows_gives_no_examples() -> None:
    found = check_table(TABLE.slice(0, 0), SHAPES, where="t")
    assert found.images.shape == (0, *SHAPES.shape)
    empty = TABLE.schema.empty_table()
    assert len(check_table(empty, SHAPES, where="t")) == 0


def test_labels_are_optional_and_other_columns_ignored() -> None:
    table = TABLE.drop_columns("label").append_column("note", pa.array(["x"] * 30))
    found = check_table(table, SHAPES, where="t")
    assert found.labels is None
    assert np.array_equal(found.images, PART.images)


IMAGES = TABLE["image"].cast(pa.binary()).to_pylist()
IDS = TABLE["id"].to_pylist()


@pytest.mark.parametrize(
    ("table", "mistake"),
    [
        (TABLE.drop_columns("id"), "t: no column 'id'"),
        (TABLE.drop_columns("image"), "t: no column 'image'"),
        (TABLE.append_column("id", TABLE["id"]), "t: 2 columns 'id', expected one"),
        (_replaced("image", pa.array(["x"] * 30)), "'image' is string, expected binary"),
        (_replaced("id", TABLE["id"].cast(pa.float64())), "'id' is double, expected int64"),
        (_replaced("label", pa.array(["x"] * 30)), "'label' is string, expected int64"),
        (
            _replaced("id", pa.array([None, *IDS[1:]])),
            "'id' is null in row 100, expected a value",
        ),
        (
            _replaced("image", pa.array([*IMAGES[:29], None])),
            "'image' is null in row 129, expected a value",
        ),
        (
            _replaced("image", pa.array([*IMAGES[:28], b"short", b""])),
            r"the image in row 128 has 5 bytes, expected 720 \(12 × 20 × 3\)",
        ),
        (
            _replaced("label", pa.array([0] * 29 + [4])),
            "label 4 in row 129, expected 0 to 3",
        ),
        (
            _replaced("label", pa.array([0] * 29 + [None])),
            "'label' is null in row 129, expected a value",
        ),
        (_replaced("id", pa.array([2**64 - 1] * 30, pa.uint64())), "column 'id': .*not in range"),
    ],
)
def test_a_wrong_table_is_refused(table: pa.Table, mistake: str) -> None:
    with pytest.raises(UserError, match=mistake):
        check_table(table, SHAPES, where="t", first=100)


def test_all_wrong_columns_are_in_one_message() -> None:
    table = pa.table({"id": ["a"], "label": [0.5]})
    with pytest.raises(UserError, match=r"(?s)3 mistakes.*'id' is.*no column 'image'.*'label' is"):
        check_table(table, SHAPES, where="t")


def test_parts_are_found_as_folders_and_as_files(tmp_path: Path) -> None:
    write_part(PART, fs.LocalFileSystem(), str(tmp_path / "train"))
    pq.write_table(TABLE, tmp_path / "test.parquet")
    pq.write_table(TABLE, tmp_path / "other.parquet")
    assert find_parquet_files(locate(str(tmp_path)), "train") == [
        f"{tmp_path}/train/part-00000.parquet"
    ]
    assert find_parquet_files(locate(str(tmp_path))) == [f"{tmp_path}/test.parquet"]
    (tmp_path / "train.parquet").touch()
    with pytest.raises(UserError, match=r"has both train and train\.parquet"):
        find_parquet_files(locate(str(tmp_path)), "train")


def test_a_file_or_folder_without_parts_is_to_be_scored(tmp_path: Path) -> None:
    for name in (
        "b/2.parquet",
        "b/1.parquet",
        "a.parquet",
        "_tmp/x.parquet",
        ".x.parquet",
        "c.csv",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [f"{tmp_path}/{name}" for name in ("a.parquet", "b/1.parquet", "b/2.parquet")]
    assert find_parquet_files(locate(str(tmp_path))) == found
    assert find_parquet_files(locate(str(tmp_path)), "train") == []
    assert find_parquet_files(locate(found[0])) == found[:1]
    assert find_parquet_files(locate(f"file://{tmp_path}")) == found
    with pytest.raises(UserError, match="no such file or folder"):
        find_parquet_files(locate(str(tmp_path / "nowhere")))


def test_many_files_are_one_part_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name, rows in (("b", slice(10, 30)), ("a", slice(0, 10))):
        pq.write_table(TABLE[rows], tmp_path / f"{name}.parquet")
    found = read_part(locate(str(tmp_path)), SHAPES, "test")
    assert found is not None and _same(found, PART)


def test_ids_are_unique_over_all_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        pq.write_table(TABLE[:3], tmp_path / f"{name}.parquet")
    with pytest.raises(UserError, match=r"is there 2 times \(3 such ids\), expected unique ids"):
        read_part(locate(str(tmp_path)), SHAPES, "test")


def test_files_with_and_without_labels_do_not_mix(tmp_path: Path) -> None:
    pq.write_table(TABLE[:3], tmp_path / "a.parquet")
    pq.write_table(TABLE[3:].drop_columns("label"), tmp_path / "b.parquet")
    with pytest.raises(UserError, match="some test files have a label column and others do not"):
        read_part(locate(str(tmp_path)), SHAPES, "test")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\xff" * 100 + b"PAR1", b"Id,0\n1,2"])
def test_a_corrupt_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.parquet: "):
        read_part(locate(str(tmp_path)), SHAPES, "test")


def test_a_truncated_file_and_one_without_rows_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(TABLE, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"a\.parquet: "):
        read_part(locate(str(path)), SHAPES, "test")
    pq.write_table(TABLE[:0], path)
    with pytest.raises(UserError, match=r"a\.parquet: its test files have no rows"):
        read_part(locate(str(path)), SHAPES, "test")


def test_a_wrong_row_is_named_by_its_place_in_the_file(tmp_path: Path) -> None:
    many = pa.concat_tables([TABLE] * 400)  # more than one batch
    many = many.set_column(0, "id", pa.array(range(12_000)))
    many = many.set_column(2, "label", pa.array([0] * 11_500 + [9] + [0] * 499))
    pq.write_table(many, tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"a\.parquet: label 9 in row 11500, expected 0 to 3"):
        read_part(locate(str(tmp_path)), SHAPES, "test")
