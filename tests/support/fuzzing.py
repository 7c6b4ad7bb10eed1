"""Makes changed files for fuzzing, since random bytes never get past a magic number.

So most examples are valid files with a few changes.
"""

import io
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from pyarrow import parquet as pq

from fmnist.storage.open import LocalStorage


def fuzz(count: int) -> settings:
    """Runs a test with the same examples every time, so that failures can be repeated."""
    return settings(
        max_examples=count,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


@st.composite
def changed(draw: st.DrawFn, *valid: bytes) -> bytes:
    """Draws one of the files with cut, flipped, added or repeated bytes, mostly at its ends."""
    data = bytearray(draw(st.sampled_from(valid)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        if draw(st.booleans()):  # changes of headers and footers find more
            at = draw(st.sampled_from([min(at, 64), max(0, len(data) - at % 600)]))
        length = draw(st.integers(1, 16))
        noise = draw(
            st.one_of(
                st.binary(min_size=1, max_size=8),
                st.sampled_from(
                    [b"\xff" * 4, b"\x7f\xff\xff\xff", b"\0" * 8, b"NaN", b'"', b"[[["]
                ),
            )
        )
        match draw(st.sampled_from(["put", "insert", "delete", "cut", "repeat"])):
            case "put":
                data[at : at + len(noise)] = noise
            case "insert":
                data[at:at] = noise
            case "delete":
                del data[at : at + length]
            case "cut":
                del data[at:]
            case "repeat":
                data[at:at] = data[at : at + 4 * length]
    return bytes(data)


def bytes_like(*valid: bytes) -> st.SearchStrategy[bytes]:
    return st.one_of(changed(*valid), changed(*valid), st.binary(max_size=200))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


def altered(valid: Any) -> st.SearchStrategy[bytes]:
    """Draws a valid document with some value changed at any depth, or damaged JSON."""

    @st.composite
    def alter(draw: st.DrawFn, value: Any) -> Any:
        if not isinstance(value, dict | list) or not value or draw(st.integers(0, 3)) == 0:
            return draw(JSON)
        items = dict(value) if isinstance(value, dict) else dict(enumerate(value))
        where = draw(st.sampled_from(sorted(items)))
        items[where] = draw(alter(items[where]))
        return items if isinstance(value, dict) else list(items.values())

    return alter(valid).map(lambda value: json.dumps(value).encode()) | bytes_like(
        json.dumps(valid).encode(), b"[" * 100_000, b'{"a":' * 100_000
    )


@pytest.fixture(scope="module")
def memory_folder() -> Iterator[Path]:
    """Yields a folder, in memory if possible, since fuzzing writes thousands of small files."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


@pytest.fixture(scope="module")
def memory_storage(memory_folder: Path) -> LocalStorage:
    return LocalStorage(root=memory_folder / "storage")


def file(folder: Path, name: str, data: bytes) -> str:
    path = folder / name
    path.write_bytes(data)
    return str(path)


def parquet(table: pa.Table, **options: Any) -> bytes:
    stream = io.BytesIO()
    pq.write_table(table, stream, **options)
    return stream.getvalue()


COLUMN = st.sampled_from(
    [
        pa.array([1, 2, 3]),
        pa.array([1, 1, 1], pa.uint8()),
        pa.array([1, None, 3]),
        pa.array([2**64 - 1] * 3, pa.uint64()),
        pa.array([0.5, float("nan"), 2]),
        pa.array([None] * 3),
        pa.array(["1", "2", "\u2028"]),
        pa.array([b"\0" * 720] * 3),
        pa.array([b"\0" * 720] * 3, pa.large_binary()),
        pa.array([b"\0" * 720] * 3, pa.binary(720)),
        pa.array([b"\0" * 719] * 3, pa.binary(719)),
        pa.array([b"\0" * 720, None, b""]),
        pa.array([b"\0" * 720] * 3).dictionary_encode(),
        pa.array([1, 2, 3]).dictionary_encode(),
        pa.array([[1], [], None]),
        pa.array([{"id": 1}] * 3),
        pa.array([{"a": [{"b": b"x"}]}] * 3),
        pa.array([1, 2, 3], pa.timestamp("us")),
        pa.array([True, False, None]),
        pa.array([1, 2, 3], pa.decimal128(5)),
    ]
)
NAME = st.sampled_from(["id", "image", "label", "id.image", "", "\0"])


@st.composite
def _table(draw: st.DrawFn) -> bytes:
    columns = draw(st.lists(st.tuples(NAME, COLUMN), max_size=4))
    table = pa.table([array for _, array in columns], names=[name for name, _ in columns])
    return parquet(table.slice(0, draw(st.integers(0, 3))))


TABLES = _table()  # Parquet files of any columns
