"""Parquet data sets: columns `id` int64, `image` of height × width × channels bytes, `label` int64.

`label` is optional, other columns are ignored. A data set is a folder with `train` and `test`, each
a folder of files or a single `.parquet` file; a file or folder without them is all `test`.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet as pq

from fmnist.data.dataset import Examples, check_ids, check_labels, check_room
from fmnist.data.locations import READ_ERRORS, Location, locate, reading
from fmnist.errors import UserError
from fmnist.tasks import Task

PARTS = ("train", "test")
SUFFIX = ".parquet"
ROWS_PER_FILE = 10_000
BATCH_BYTES = 2 << 20  # of pixels that are read at once

IMAGE_TYPES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)


def find_parquet_files(spec: str, part: str = "test") -> tuple[Any, list[str]]:
    """The file system and the sorted paths of the part's files; no paths where it is missing.

    Files and folders whose names begin with `.` or `_` are ignored.
    Raises UserError where nothing is at `spec` or both `train/` and `train.parquet` are.
    """
    location = locate(spec)
    if location.filesystem is None:
        raise UserError(f"{spec}: Parquet is read from a path, file:// or s3://")
    if location.is_file():
        return location.filesystem, [location.path] if part == "test" else []
    names = location.names()
    entries = {name: [entry for entry in (name, name + SUFFIX) if entry in names] for name in PARTS}
    if not any(entries.values()):
        return location.filesystem, _below(location) if part == "test" else []
    if len(entries[part]) > 1:
        raise UserError(f"{spec}: has both {' and '.join(entries[part])}, expected one of them")
    for entry in entries[part]:
        child = location.child(entry)
        return location.filesystem, [child.path] if child.is_file() else _below(child)
    return location.filesystem, []


def read_part(spec: str, task: Task, part: str) -> Examples | None:
    """All examples of a part, in the order of its sorted files; None where it has no files.

    Raises UserError naming the file, and the row counted from 0, of what is wrong.
    """
    filesystem, paths = find_parquet_files(spec, part)
    if not paths:
        return None
    footers = _read_footers(filesystem, paths, task)
    filled = [footer for footer in footers.values() if footer.num_rows]
    if not filled:
        raise UserError(f"{spec}: its {part} files have no rows")
    labelled = {"label" in footer.schema.to_arrow_schema().names for footer in filled}
    if len(labelled) > 1:
        raise UserError(f"{spec}: some {part} files have a label column and others do not")
    found = _empty(sum(footer.num_rows for footer in filled), task, labelled=labelled.pop())
    start = 0
    for path, footer in footers.items():
        for examples in _read_file(filesystem, path, task, footer):
            rows = slice(start, start + len(examples))
            found.ids[rows], found.images[rows] = examples.ids, examples.images
            if found.labels is not None:
                found.labels[rows] = examples.labels
            start = rows.stop
    check_ids(found.ids, f"{spec} ({part})")
    return found


def open_file(
    stream: Any, task: Task, where: str, footer: pq.FileMetaData | None = None
) -> pq.ParquetFile:
    """An open file whose schema is right, to be read by `read_batches`; UserError if it is not.

    An image that is there many times is held once, since a small file can repeat a large one.
    """
    metadata = footer or read_footer(stream, task, where)
    return pq.ParquetFile(stream, metadata=metadata, read_dictionary=["image"])


def read_footer(stream: Any, task: Task, where: str) -> pq.FileMetaData:
    """What a file says of itself; UserError if its schema is wrong."""
    try:
        metadata = pq.read_metadata(stream)
        schema = metadata.schema.to_arrow_schema()
    except READ_ERRORS:
        raise
    except Exception as error:  # Ray's own Arrow types raise anything where a file misuses them
        raise UserError(f"{where}: a type of its schema can't be read: {error}") from error
    _check_columns(schema, where)
    kind = schema.field("image").type
    if pa.types.is_fixed_size_binary(kind) and kind.byte_width != task.pixels:
        raise UserError(f"{where}: column 'image' is {kind}, expected {task.pixels} bytes")
    return metadata


def read_batches(
    file: pq.ParquetFile, columns: list[str], task: Task, where: str
) -> Iterator[Examples]:
    """The examples of a file, some MB at a time; UserError naming the row of what is wrong."""
    first, rows = 0, max(1, BATCH_BYTES // task.pixels)
    for batch in file.iter_batches(rows, columns=columns):
        examples = check_table(batch, task, where=where, first=first)
        first += len(examples)
        if first <= file.metadata.num_rows:
            yield examples
    if first != file.metadata.num_rows:
        raise UserError(
            f"{where}: its footer says {file.metadata.num_rows:,} rows, found {first:,}"
        )


def check_table(table: pa.Table, task: Task, *, where: str, first: int = 0) -> Examples:
    """The examples of an Arrow table or record batch; images may be read-only.

    Raises UserError for a missing or wrong-typed column, a null, an image of another size, or a
    label out of range; rows in messages are counted from `first`. That ids are unique is for the
    caller to check, over all tables.
    """
    _check_columns(table.schema, where)
    labels = None
    if "label" in table.schema.names:
        labels = _integers(table, "label", where, first)
        check_labels(labels, len(task.classes), where, first)
    return Examples(
        ids=_integers(table, "id", where, first),
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


def write_part(examples: Examples, filesystem: Any, folder: str) -> None:
    """Writes files of at most 10,000 rows, the same bytes for the same examples."""
    filesystem.create_dir(folder, recursive=True)
    for number, start in enumerate(range(0, len(examples), ROWS_PER_FILE)):
        rows = np.arange(start, min(start + ROWS_PER_FILE, len(examples)))
        path = f"{folder}/part-{number:05}{SUFFIX}"
        table = to_table(examples.take(rows))
        pq.write_table(table, path, filesystem=filesystem, compression="zstd", use_dictionary=False)


def _below(folder: Location) -> list[str]:
    root = folder.path.rstrip("/") + "/"
    return [
        path
        for path in folder.files()
        if path.endswith(SUFFIX)
        and not any(name.startswith((".", "_")) for name in path.removeprefix(root).split("/"))
    ]


def _empty(count: int, task: Task, *, labelled: bool) -> Examples:
    """Room for so many; it takes memory as it is filled, not for what a footer only claims."""
    return Examples(
        ids=np.empty(count, np.int64),
        images=np.empty((count, *task.shape), np.uint8),
        labels=np.empty(count, np.int64) if labelled else None,
    )


def _read_footers(filesystem: Any, paths: list[str], task: Task) -> dict[str, pq.FileMetaData]:
    """By path; UserError for more rows than there is memory for."""
    footers, rows = {}, 0
    for path in paths:
        with reading(path), filesystem.open_input_file(path) as stream:
            footers[path] = read_footer(stream, task, path)
        rows += footers[path].num_rows
        check_room(rows * task.pixels, f"{path}: with its {footers[path].num_rows:,} rows")
    return footers


def _read_file(
    filesystem: Any, path: str, task: Task, footer: pq.FileMetaData
) -> Iterator[Examples]:
    with reading(path), filesystem.open_input_file(path) as stream:
        file = open_file(stream, task, path, footer)
        columns = [name for name in ("id", "image", "label") if name in file.schema_arrow.names]
        yield from read_batches(file, columns, task, path)


def _check_columns(schema: pa.Schema, where: str) -> None:
    problems = []
    for name in ("id", "image", "label"):
        fields = [field for field in schema if field.name == name]
        if len(fields) > 1:
            problems.append(f"{where}: {len(fields)} columns {name!r}, expected one")
        elif not fields:
            if name != "label":
                problems.append(f"{where}: no column {name!r}, expected id, image and maybe label")
        elif name == "image" and not any(check(_plain(fields[0].type)) for check in IMAGE_TYPES):
            problems.append(f"{where}: column 'image' is {fields[0].type}, expected binary")
        elif name != "image" and not pa.types.is_integer(fields[0].type):
            problems.append(f"{where}: column {name!r} is {fields[0].type}, expected int64")
    if problems:
        raise UserError.of(problems)


def _integers(table: pa.Table, name: str, where: str, first: int) -> np.ndarray:
    column = table.column(name)
    _check_no_null(column, name, where, first)
    with reading(f"{where}: column {name!r}"):
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
    """Bytes of each value; of those in a dictionary before they are written out."""
    if pa.types.is_dictionary(chunk.type):
        return _lengths(chunk.dictionary)[np.asarray(chunk.indices)]
    return np.asarray(pc.binary_length(chunk))


def _bytes(chunk: pa.Array, pixels: int) -> np.ndarray:
    """The bytes of all images of a chunk, without a copy where Arrow has them so already."""
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
