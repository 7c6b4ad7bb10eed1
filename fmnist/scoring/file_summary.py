"""Reads and hashes files of images before any is scored, each file in a task of its own."""

import hashlib
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyarrow.fs import FileSystem, FileType

from fmnist.cluster.nodes import NodeAddress, not_shared_error
from fmnist.data.fingerprints import row_digests, short_hashes, sum_of_hashes
from fmnist.data.formats.parquet import open_file, read_batches
from fmnist.data.formats.parquet_schema import NAME, SHARD
from fmnist.errors import UserError
from fmnist.storage.errors import read_errors
from fmnist.tasks import Task

COLUMNS = ["id", "image"]


@dataclass(frozen=True, kw_only=True)
class FileSummary:
    """Ids and short hashes (n,) of a file's rows in their order, the sum of all hashes, types."""

    ids: np.ndarray
    hashes: np.ndarray
    sum_of_hashes: int
    types: tuple[str, ...]  # of COLUMNS
    names: pa.Array | None  # of a shard whose images were files


def summarize_file(
    filesystem: FileSystem, path: str, task: Task, driver: NodeAddress
) -> FileSummary:
    """Reads and hashes one file, in a task of its own.

    Raises UserError naming file and row of what is wrong, and both nodes if the file is missing on
    the task's node and the driver, which has found it, is on another.
    """
    with read_errors(path):
        there = filesystem.get_file_info(path).type != FileType.NotFound
    if not there and (reader := NodeAddress.here()).node != driver.node:
        raise not_shared_error(path, driver=driver.address, reader=reader.address)
    ids, hashes, total = [np.empty(0, np.int64)], [np.empty(0, np.uint64)], 0
    with read_errors(path), filesystem.open_input_file(path) as stream:
        file = open_file(stream, task, path)
        schema = file.schema.to_arrow_schema()
        for examples in read_batches(file, COLUMNS, task, path):
            digests = row_digests(examples)
            ids.append(examples.ids)
            hashes.append(short_hashes(digests))
            total += sum_of_hashes(digests)
        named = NAME in schema.names and SHARD in (schema.metadata or {})
        names = file.read(columns=[NAME])[NAME].combine_chunks() if named else None
    return FileSummary(
        ids=np.concatenate(ids),
        hashes=np.concatenate(hashes),
        sum_of_hashes=total,
        types=tuple(str(schema.field(name).type) for name in COLUMNS),
        names=names,
    )


def order_by_id(paths: list[str], ids: list[np.ndarray]) -> np.ndarray:
    """Positions of the rows of all files, sorted by id; `ids` has those of each file.

    Raises UserError naming the first id that is there twice.
    """
    values = np.concatenate(ids)
    order = np.argsort(values, kind="stable")
    repeated = np.flatnonzero(values[order[1:]] == values[order[:-1]])
    if len(repeated):
        starts = np.cumsum([0, *map(len, ids)])
        places = []
        for row in order[repeated[0] : repeated[0] + 2]:
            file = int(np.searchsorted(starts, row, side="right")) - 1
            places.append(f"{paths[file]} row {row - starts[file]}")
        raise UserError(
            f"id {values[order[repeated[0]]]} is in {places[0]} and in {places[1]}"
            f" ({len(repeated)} ids are repeated), expected unique ids"
        )
    return order


def check_same_types(paths: list[str], found: list[FileSummary]) -> None:
    """Raises UserError naming the first file whose columns have other types than the first's."""
    for path, one in zip(paths, found, strict=True):
        if one.types != found[0].types:
            raise UserError(
                f"{path}: columns {' and '.join(COLUMNS)} are {' and '.join(one.types)},"
                f" expected {' and '.join(found[0].types)} as in {paths[0]}"
            )


def join_names(found: list[pa.Array | None]) -> pa.Array | None:
    """Names of the images of all files; None unless each file has some."""
    known = [names for names in found if names is not None]
    return pa.concat_arrays(known) if known and len(known) == len(found) else None


def hash_of_names(names: pa.Array | None) -> int:
    """Number that names add to a fingerprint, since predictions carry them."""
    if names is None:
        return 0
    digest = hashlib.sha256("\0".join(names.to_pylist()).encode())
    return int.from_bytes(digest.digest())
