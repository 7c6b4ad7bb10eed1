"""What is to be scored: images with unique ids, all looked at once before any is scored.

Parquet files are streamed by Ray Data and never held whole; other formats are in memory already.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray
from pyarrow.fs import FileType
from ray.data import DataContext
from ray.util.annotations import RayDeprecationWarning

from fmnist.cluster.nodes import NodeAddress, not_shared_error
from fmnist.cluster.remote import TASK_RETRIES, get_result
from fmnist.cluster.resources import check_cpu_for_reading
from fmnist.data.dataset import Dataset, Examples
from fmnist.data.fingerprints import fingerprint_of, row_digests, short_hashes, sum_of_hashes
from fmnist.data.formats.parquet import find_parquet_files, open_file, read_batches
from fmnist.data.formats.parquet_schema import to_table
from fmnist.data.load import find_format, load, load_format
from fmnist.data.locations import Location, locate, reading
from fmnist.errors import UserError
from fmnist.tasks import Task

COLUMNS = ["id", "image"]
CHUNK_BYTES = 2 << 20  # pixels that are passed to Ray at once
READERS = 2  # files that are read at the same time


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """`ids` are (n,) int64, sorted and unique; `read` makes the Ray data set of id and image.

    `fingerprint` follows from ids and images alone, whatever their order, files and format, and
    `marks` (n,) uint64 are a part of it: each tells an image from another of the same id. `same`
    says whether the data are still what was looked at.
    """

    source: str  # for people; holds no credentials
    fingerprint: str
    ids: np.ndarray
    marks: np.ndarray
    read: Callable[[], ray.data.Dataset]
    same: Callable[[], bool]

    def changed(self, what: str) -> UserError:
        """What to raise when they are not."""
        return UserError(
            f"{self.source}: changed while it was scored ({what}), expected data that stay as they"
            f" are: nothing is published; the same command scores what is there now"
        )


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What was seen of a file: ids in their order, the sum of its rows' digests, types."""

    ids: np.ndarray
    marks: np.ndarray
    digest: int
    types: tuple[str, ...]


def find_inputs(task: Task, place: str = "auto", *, cache: Path | None = None) -> Inputs:
    """The test part at `place`, which `fmnist.data.load` explains. Ray must be running.

    Raises UserError as `load` does, and where there is no test part.
    """
    if place == "auto":
        return from_dataset(load(task, cache=cache))
    location = locate(place)
    if (format := find_format(location)) == "parquet":
        return from_parquet(task, location)
    return from_dataset(load_format(task, location, format))


def from_dataset(dataset: Dataset) -> Inputs:
    """The test part of a data set in memory; UserError if there is none."""
    if dataset.test is None:
        raise UserError(f"{dataset.source}: has no test part, expected one to score")
    return from_examples(dataset.test, source=dataset.source)


def from_examples(examples: Examples, *, source: str) -> Inputs:
    """Examples in memory; they go to Ray's object store when they are read."""
    rows = max(1, CHUNK_BYTES // examples.images[0].size)

    def tables() -> list[pa.Table]:
        starts = range(0, len(examples), rows)
        return [to_table(_slice(examples, start, start + rows)) for start in starts]

    digests, order = row_digests(examples), np.argsort(examples.ids)
    return Inputs(
        source=source,
        fingerprint=fingerprint_of(sum_of_hashes(digests)),
        ids=examples.ids[order],
        marks=short_hashes(digests)[order],
        read=lambda: ray.data.from_arrow(tables()),
        same=lambda: True,
    )


def from_parquet(task: Task, location: Location) -> Inputs:
    """The test part of a Parquet data set, surveyed file by file in parallel tasks.

    Raises UserError naming file and row for a null, a repeated id or an image of another size, and
    naming the files for columns that are missing or differ.
    """
    filesystem, paths = location.filesystem, find_parquet_files(location)
    before = _stamps(filesystem, paths)
    if not paths:
        raise UserError(f"{location.uri}: has no test part, expected one to score")
    check_cpu_for_reading()
    driver = NodeAddress.here()
    survey = ray.remote(max_retries=TASK_RETRIES)(_survey)
    found = get_result(
        [survey.remote(filesystem, path, task, driver) for path in paths],
        f"looking at {location.uri}",
    )
    if not sum(len(one.ids) for one in found):
        raise UserError(f"{location.uri}: has no rows, expected images to score")
    _check_same_types(paths, found)
    order = _order(paths, [one.ids for one in found])
    fingerprint = fingerprint_of(sum(one.digest for one in found))

    def same() -> bool:
        if find_parquet_files(location) == paths and _stamps(filesystem, paths) == before:
            return True
        return from_parquet(task, location).fingerprint == fingerprint

    return Inputs(
        source=f"parquet at {location.uri}",
        fingerprint=fingerprint,
        ids=np.concatenate([one.ids for one in found])[order],
        marks=np.concatenate([one.marks for one in found])[order],
        read=lambda: _stream(filesystem, paths),
        same=same,
    )


def _stamps(filesystem: Any, paths: list[str]) -> list[tuple[int, int]]:
    """Size and time of the last change of each file."""
    with reading(", ".join(paths[:1])):
        return [(info.size, info.mtime_ns) for info in filesystem.get_file_info(paths)]


def _stream(filesystem: Any, paths: list[str]) -> ray.data.Dataset:
    context = DataContext.get_current().copy()
    # Version 2 lists the files in a task that needs a CPU, and so waits for ever once the actors,
    # which wait for images, hold them all.
    context.use_datasource_v2 = False
    with DataContext.current(context), warnings.catch_warnings():
        # Ray would start a task again without end, and has no other parameter for that yet.
        warnings.simplefilter("ignore", RayDeprecationWarning)
        return ray.data.read_parquet(
            paths,
            filesystem=filesystem,
            columns=COLUMNS,
            partitioning=None,  # a path such as year=2020/ would otherwise add a column
            ray_remote_args={"num_cpus": 0, "max_retries": TASK_RETRIES},
            concurrency=READERS,
        )


def _survey(filesystem: Any, path: str, task: Task, driver: NodeAddress) -> Survey:
    with reading(path):
        there = filesystem.get_file_info(path).type != FileType.NotFound
    if not there and (reader := NodeAddress.here()).node != driver.node:
        raise not_shared_error(path, driver=driver.address, reader=reader.address)
    ids, found, digest = [np.empty(0, np.int64)], [np.empty(0, np.uint64)], 0
    with reading(path), filesystem.open_input_file(path) as stream:
        file = open_file(stream, task, path)
        schema = file.schema.to_arrow_schema()
        for examples in read_batches(file, COLUMNS, task, path):
            digests = row_digests(examples)
            ids.append(examples.ids)
            found.append(short_hashes(digests))
            digest += sum_of_hashes(digests)
    types = tuple(str(schema.field(name).type) for name in COLUMNS)
    return Survey(ids=np.concatenate(ids), marks=np.concatenate(found), digest=digest, types=types)


def _order(paths: list[str], ids: list[np.ndarray]) -> np.ndarray:
    """The rows of all files in the order of their ids; UserError of the first one that is twice."""
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


def _check_same_types(paths: list[str], found: list[Survey]) -> None:
    for path, one in zip(paths, found, strict=True):
        if one.types != found[0].types:
            raise UserError(
                f"{path}: columns {' and '.join(COLUMNS)} are {' and '.join(one.types)},"
                f" expected {' and '.join(found[0].types)} as in {paths[0]}"
            )


def _slice(examples: Examples, start: int, stop: int) -> Examples:
    return Examples(ids=examples.ids[start:stop], images=examples.images[start:stop], labels=None)
