"""Readers of data sets return examples or raise a UserError that names the file, for any bytes."""

import gzip
import io
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import example, given
from hypothesis import strategies as st

from fmnist.data.formats.competition_csv import read_csv
from fmnist.data.formats.idx import inflated, read_images, read_labels
from fmnist.data.formats.parquet import read_part
from fmnist.data.formats.parquet_schema import to_table
from fmnist.data.locations import locate
from fmnist.errors import UserError
from fmnist.tasks import Task
from tests.support.fuzzing import TABLES, bytes_like, file, fuzz, parquet
from tests.support.samples import SHAPES, examples, idx_bytes

TINY = Task(name="tiny", classes=("a", "b"), shape=(1, 2, 2))


IMAGES = idx_bytes(np.arange(60, dtype=np.uint8).reshape(3, 4, 5))
LABELS = idx_bytes(np.array([3, 0, 2]))


@fuzz(300)
@given(
    bytes_like(IMAGES, LABELS, gzip.compress(IMAGES, mtime=0), gzip.compress(LABELS, mtime=0)),
    st.sampled_from(["x", "x.gz"]),
)
def test_idx(data: bytes, name: str) -> None:
    readers: list[Callable[[Any], np.ndarray]] = [
        lambda stream: read_images(stream, (4, 5, 1), name),
        lambda stream: read_labels(stream, 4, name),
    ]
    for read in readers:
        try:
            found = read(inflated(io.BytesIO(data), name))
        except UserError as error:
            assert name in str(error)
        else:
            assert len(found) >= 1


CSV = b"Id,Label,0,1,2,3\n7,1,0,255,3,4\n9,0,5,6,7,8\n"


@fuzz(300)
@given(
    st.one_of(
        bytes_like(CSV, CSV.replace(b"Label,", b"")),
        st.text(alphabet='019,"\n\r x-.', max_size=40).map(lambda rows: CSV + rows.encode()),
    )
)
@example(CSV.replace(b"\n", "\u2028more\n".encode(), 1))
@example(CSV.replace(b"3\n", b'"3\n', 1))
def test_csv(memory_folder: Path, data: bytes) -> None:
    try:
        found = read_csv(locate(file(memory_folder, "train.csv", data)), TINY)
    except UserError as error:
        assert "train.csv: " in str(error)
    else:
        assert len(found) >= 1 and found.images.shape[1:] == TINY.shape


PART = examples(SHAPES, 6)
TABLE = to_table(PART)
REPEATED = TABLE.set_column(1, "image", TABLE["image"].cast(pa.binary()))
NESTED = TABLE.append_column("more", pa.array([{"id": [1], "image": b""}] * 6))
PARQUET = (
    parquet(TABLE, compression="zstd", use_dictionary=False),
    parquet(REPEATED, row_group_size=2),
    parquet(REPEATED, data_page_version="2.0", compression="gzip"),
    parquet(NESTED, compression="none"),
)


@fuzz(400)
@given(bytes_like(*PARQUET))
def test_parquet(memory_folder: Path, data: bytes) -> None:
    try:
        found = read_part(locate(file(memory_folder, "x.parquet", data)), SHAPES, "test")
    except UserError as error:
        assert "x.parquet" in str(error)
    else:
        assert found is not None and found.images.shape == (len(found), *SHAPES.shape)


@fuzz(150)
@given(TABLES)
def test_parquet_of_any_columns(memory_folder: Path, data: bytes) -> None:
    with suppress(UserError):
        found = read_part(locate(file(memory_folder, "x.parquet", data)), SHAPES, "test")
        assert found is not None and found.images.shape == (len(found), *SHAPES.shape)
