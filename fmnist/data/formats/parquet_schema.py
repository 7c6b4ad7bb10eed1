"""Columns of Parquet data sets: `id` int64, `image` of height × width × channels bytes, `label`.

`label` is an optional int64; other columns are ignored. Tables are checked, and turned into
examples and back.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fmnist.data.dataset import Examples, check_labels
from fmnist.errors import UserError
from fmnist.storage.errors import read_errors
from fmnist.tasks import Task

NAME = "name"  # column of an image's name in the shards of an ingested data set
SHARD = b"fmnist"  # key in the schema's metadata of such a shard
IMAGE_TYPES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)


def check_table(table: pa.Table, task: Task, *, where: str, first: int = 0) -> Examples:
    """The examples of an Arrow table or record batch; images may be read-only.

    Raises UserError for a missing or wrong-typed column, a null, an image of another size, or a
    label out of range; rows in messages are counted from `first`. That ids are unique is for the
    caller to check, over all tables.
    """
    check_columns(table.schema, where)
    labels = None
    if "label" in table.schema.names:
        labels = read_integers(table, "label", where, first)
        check_labels(labels, len(task.classes), where, first)
    return Examples(
        ids=read_integers(table, "id", where, first),
        images=_images(table, task, where, first),
        labels=labels,
    )


def to_table(examples: Examples) -> pa.Table:
    """The examples in the documented columns."""
    pixels = examples.images[0].size
    data = pa.py_buffer(np.ascontiguousarray(examples.images))
    images = pa.FixedSizeBinaryArray.from_buffers(pa.binary(pixels), len(examples), [None, data])
    columns = {"id": pa.array(examples.ids, pa.int64()), "image": images}
    if examples.labels is not None:
        columns["label"] = pa.array(examples.labels, pa.int64())
    return pa.table(columns)


def check_columns(schema: pa.Schema, where: str) -> None:
    problems = []
    for name in ("id", "image", "label"):
        fields = [field for field in schema if field.name == name]
        if len(fields) > 1:
            problems.append(f"{where}: {len(fields)} columns {name!r}, expected one")
        elif not fields:
            if name != "label":
                problems.append(f"{where}: no column {name!r}, expected id, image and maybe label")
        elif name == "image" and not holds_bytes(_plain(fields[0].type)):
            problems.append(f"{where}: column 'image' is {fields[0].type}, expected binary")
        elif name != "image" and not pa.types.is_integer(fields[0].type):
            problems.append(f"{where}: column {name!r} is {fields[0].type}, expected int64")
    if problems:
        raise UserError.of(problems)


def holds_bytes(kind: pa.DataType) -> bool:
    """Returns True for the types that a column of raw images may have."""
    return any(check(kind) for check in IMAGE_TYPES)


def read_integers(table: pa.Table, name: str, where: str, first: int = 0) -> np.ndarray:
    """A column as (n,) int64. Raises UserError for a null and for what is no integer."""
    column = table.column(name)
    _check_no_null(column, name, where, first)
    with read_errors(f"{where}: column {name!r}"):
        return np.asarray(column.cast(pa.int64()))


def _images(table: pa.Table, task: Task, where: str, first: int) -> np.ndarray:
    column = table.column("image")
    _check_no_null(column, "image", where, first)
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    lengths = np.concatenate([np.empty(0, np.int64), *map(_lengths, chunks)])
    wrong = lengths != task.pixels
    if wrong.any():
        row = int(wrong.argmax())
        expected = " × ".join(map(str, task.shape))
        raise UserError(
            f"{where}: the image in row {row + first} has {lengths[row]:.0f} bytes,"
            f" expected {task.pixels} ({expected})"
        )
    pieces = [_bytes(chunk, task.pixels) for chunk in chunks]
    flat = pieces[0] if len(pieces) == 1 else np.concatenate([np.empty(0, np.uint8), *pieces])
    return flat.reshape(-1, *task.shape)


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _lengths(chunk: pa.Array) -> np.ndarray:
    """Number of bytes of each value, without decoding a dictionary."""
    if pa.types.is_dictionary(chunk.type):
        lengths: np.ndarray = _lengths(chunk.dictionary)[np.asarray(chunk.indices)]
        return lengths
    return np.asarray(pc.binary_length(chunk))


def _bytes(chunk: pa.Array, pixels: int) -> np.ndarray:
    """The pixels of all images of a chunk; not copied if Arrow has them in one buffer."""
    if not len(chunk):
        return np.empty(0, np.uint8)
    if pa.types.is_dictionary(chunk.type):
        chunk = chunk.dictionary_decode()
    fixed = chunk.cast(pa.binary(pixels))
    offset = fixed.offset * pixels
    return np.frombuffer(fixed.buffers()[1], np.uint8, len(chunk) * pixels, offset)


def _check_no_null(column: pa.ChunkedArray, name: str, where: str, first: int) -> None:
    if column.null_count:
        row = int(np.asarray(pc.is_null(column)).argmax())
        raise UserError(f"{where}: column {name!r} is null in row {row + first}, expected a value")
