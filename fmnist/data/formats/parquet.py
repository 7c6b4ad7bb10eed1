"""Parquet data sets: a folder with `train` and `test`, whose columns `parquet_schema` describes.

Each of the two is a folder of files or a single `.parquet` file; a file, or a folder without them,
is all `test`.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet as pq
from pyarrow.fs import FileInfo

from fmnist.data.dataset import Examples, check_ids, check_room
from fmnist.data.formats.parquet_schema import check_columns, check_table, to_table
from fmnist.data.locations import Location, is_file
from fmnist.errors import UserError
from fmnist.storage.errors import READ_ERRORS, read_errors
from fmnist.tasks import Task

PARTS = ("train", "test")
SUFFIX = ".parquet"
ROWS_PER_FILE = 10_000
BATCH_BYTES = 2 << 20  # of pixels that are read at once
LARGE = 64 << 20  # bytes of a column of a row group
LARGE_ROWS = 64  # that are read at once of such a row group
READ_BYTES = 4 << 20  # that are fetched of a column at once: on S3 each is a request


def find_parquet_files(location: Location, part: str = "test") -> list[str]:
    """The sorted paths of the part's files in the location's file system; none if it is missing.

    Files and folders whose names begin with `.` or `_` are ignored.
    Raises UserError where nothing is at the location, or both `train/` and `train.parquet` are.
    """
    if location.filesystem is None:
        raise UserError(f"{location.uri}: Parquet is read from a path, file:// or s3://")
    if location.is_file():
        return [location.path] if part == "test" else []
    names = location.names()
    entries = {name: [entry for entry in (name, name + SUFFIX) if entry in names] for name in PARTS}
    if not any(entries.values()):
        return _files_below(location) if part == "test" else []
    if len(entries[part]) > 1:
        both = " and ".join(entries[part])
        raise UserError(f"{location.uri}: has both {both}, expected one of them")
    for entry in entries[part]:
        child = location.child(entry)
        return [child.path] if child.is_file() else _files_below(child)
    return []


def read_part(location: Location, task: Task, part: str) -> Examples | None:
    """All examples of a part, in the order of its sorted files; None where it has no files.

    Raises UserError naming the file, and the row counted from 0, of what is wrong.
    """
    filesystem, paths = location.filesystem, find_parquet_files(location, part)
    if not paths:
        return None
    footers = _read_footers(filesystem, paths, task)
    filled = [footer for footer in footers.values() if footer.num_rows]
    if not filled:
        raise UserError(f"{location.uri}: its {part} files have no rows")
    labelled = {"label" in footer.schema.to_arrow_schema().names for footer in filled}
    if len(labelled) > 1:
        raise UserError(f"{location.uri}: some {part} files have a label column and others do not")
    found = _allocate(sum(footer.num_rows for footer in filled), task, labelled=labelled.pop())
    start = 0
    for path, footer in footers.items():
        for examples in _read_file(filesystem, path, task, footer):
            rows = slice(start, start + len(examples))
            found.ids[rows], found.images[rows] = examples.ids, examples.images
            if found.labels is not None:
                found.labels[rows] = examples.labels
            start = rows.stop
    check_ids(found.ids, f"{location.uri} ({part})")
    return found


def open_parquet(stream: Any, **options: Any) -> pq.ParquetFile:
    """Opens a file so that its columns are read piece by piece.

    Arrow would hold what it has read of a file until its end, and a row group's whole column before
    its first row. Both may be larger than memory.
    """
    return pq.ParquetFile(stream, pre_buffer=False, buffer_size=READ_BYTES, **options)


def open_file(
    stream: Any, task: Task, where: str, footer: pq.FileMetaData | None = None
) -> pq.ParquetFile:
    """An open file whose schema is right, to be read by `read_batches`; UserError if it is not.

    An image that is there many times is held once, since a small file can repeat a large one. But
    for this, Arrow holds all different images of a row group; of a large one, few rows are read at
    once instead.
    """
    metadata = footer or read_footer(stream, task, where)
    repeating = [] if _is_large(metadata) else ["image"]
    return open_parquet(stream, metadata=metadata, read_dictionary=repeating)


def _is_large(metadata: pq.FileMetaData) -> bool:
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    return any(
        group.column(number).total_uncompressed_size > LARGE
        for group in groups
        for number in range(group.num_columns)
    )


def read_footer(stream: Any, task: Task, where: str) -> pq.FileMetaData:
    """The footer of a file, with schema and number of rows; UserError if the schema is wrong."""
    try:
        metadata = pq.read_metadata(stream)
        schema = metadata.schema.to_arrow_schema()
    except READ_ERRORS:
        raise
    except Exception as error:  # Ray's own Arrow types raise anything where a file misuses them
        raise UserError(f"{where}: a type of its schema can't be read: {error}") from error
    check_columns(schema, where)
    kind = schema.field("image").type
    if pa.types.is_fixed_size_binary(kind) and kind.byte_width != task.pixels:
        raise UserError(f"{where}: column 'image' is {kind}, expected {task.pixels} bytes")
    return metadata


def read_batches(
    file: pq.ParquetFile, columns: list[str], task: Task, where: str
) -> Iterator[Examples]:
    """The examples of a file, some MB at a time; UserError naming the row of what is wrong."""
    first, rows = 0, max(1, BATCH_BYTES // task.pixels)
    if _is_large(file.metadata):
        rows = min(rows, LARGE_ROWS)
    for batch in file.iter_batches(rows, columns=columns):
        examples = check_table(batch, task, where=where, first=first)
        first += len(examples)
        if first <= file.metadata.num_rows:
            yield examples
    if first != file.metadata.num_rows:
        raise UserError(
            f"{where}: its footer says {file.metadata.num_rows:,} rows, found {first:,}"
        )


def write_part(examples: Examples, filesystem: Any, folder: str) -> None:
    """Writes files of at most 10,000 rows, the same bytes for the same examples."""
    filesystem.create_dir(folder, recursive=True)
    for number, start in enumerate(range(0, len(examples), ROWS_PER_FILE)):
        rows = np.arange(start, min(start + ROWS_PER_FILE, len(examples)))
        path = f"{folder}/part-{number:05}{SUFFIX}"
        table = to_table(examples.take(rows))
        pq.write_table(table, path, filesystem=filesystem, compression="zstd", use_dictionary=False)


def parquet_infos(folder: Location) -> list[FileInfo]:
    """Arrow's descriptions of the Parquet files below a folder, sorted by path.

    Files and folders whose names begin with `.` or `_` are left out.
    """
    root = folder.path.rstrip("/") + "/"
    return sorted(
        (
            info
            for info in folder.infos()
            if is_file(info)
            and (path := info.path).endswith(SUFFIX)
            and not any(name.startswith((".", "_")) for name in path.removeprefix(root).split("/"))
        ),
        key=lambda info: info.path,
    )


def _files_below(folder: Location) -> list[str]:
    return [info.path for info in parquet_infos(folder)]


def _allocate(count: int, task: Task, *, labelled: bool) -> Examples:
    """Empty arrays for so many examples; they take memory only as they are filled."""
    return Examples(
        ids=np.empty(count, np.int64),
        images=np.empty((count, *task.shape), np.uint8),
        labels=np.empty(count, np.int64) if labelled else None,
    )


def _read_footers(filesystem: Any, paths: list[str], task: Task) -> dict[str, pq.FileMetaData]:
    """The footers by path; UserError for more rows than there is memory for."""
    footers, rows = {}, 0
    for path in paths:
        with read_errors(path), filesystem.open_input_file(path) as stream:
            footers[path] = read_footer(stream, task, path)
        rows += footers[path].num_rows
        check_room(rows * task.pixels, f"{path}: with its {footers[path].num_rows:,} rows")
    return footers


def _read_file(
    filesystem: Any, path: str, task: Task, footer: pq.FileMetaData
) -> Iterator[Examples]:
    with read_errors(path), filesystem.open_input_file(path) as stream:
        file = open_file(stream, task, path, footer)
        columns = [name for name in ("id", "image", "label") if name in file.schema_arrow.names]
        yield from read_batches(file, columns, task, path)
