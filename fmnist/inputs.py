"""What is to be scored: images with unique ids, all looked at once before any is scored.

Parquet files are streamed by Ray Data and never held whole; other formats are in memory already.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray
from ray.data import DataContext

from fmnist.capacity import check_tasks
from fmnist.dataset import Dataset, Examples
from fmnist.errors import UserError
from fmnist.locations import reading
from fmnist.parquet import find_parquet_files, open_file, read_batches, to_table
from fmnist.sources import find_kind, load
from fmnist.tasks import Task

COLUMNS = ["id", "image"]
CHUNK_BYTES = 2 << 20  # pixels that are passed to Ray at once
SUM_BITS = 256
READERS = 2  # files that are read at the same time


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """`ids` are (n,) int64, sorted and unique; `read` makes the Ray data set of id and image.

    `fingerprint` follows from ids and images alone, whatever their order, files and format.
    """

    source: str  # for people; holds no credentials
    fingerprint: str
    ids: np.ndarray
    read: Callable[[], ray.data.Dataset]


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What was seen of a file: ids in their order, the sum of its rows' digests, types."""

    ids: np.ndarray
    digest: int
    types: tuple[str, ...]


def find_inputs(task: Task, spec: str = "auto", *, cache: Path | None = None) -> Inputs:
    """The test part at `spec`, which `sources.load` explains. Ray must be running.

    Raises UserError for what `sources.load` raises it, and where there is no test part.
    """
    if spec != "auto" and find_kind(spec) == "parquet":
        return from_parquet(task, spec)
    return from_dataset(load(task, spec, cache=cache))


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

    return Inputs(
        source=source,
        fingerprint=_hex(_digest(examples)),
        ids=np.sort(examples.ids),
        read=lambda: ray.data.from_arrow(tables()),
    )


def from_parquet(task: Task, spec: str) -> Inputs:
    """The test part of a Parquet data set, surveyed file by file in parallel tasks.

    Raises UserError naming file and row for a null, a repeated id or an image of another size, and
    naming the files for columns that are missing or differ.
    """
    filesystem, paths = find_parquet_files(spec)
    if not paths:
        raise UserError(f"{spec}: has no test part, expected one to score")
    check_tasks()
    survey = ray.remote(max_retries=3)(_survey)
    try:
        found = ray.get([survey.remote(filesystem, path, task) for path in paths])
    except ray.exceptions.RayTaskError as error:
        raise UserError(str(error.cause)) if isinstance(error.cause, UserError) else error from None
    if not sum(len(one.ids) for one in found):
        raise UserError(f"{spec}: has no rows, expected images to score")
    _check_same_types(paths, found)
    return Inputs(
        source=f"parquet at {spec}",
        fingerprint=_hex(sum(one.digest for one in found)),
        ids=_sorted_ids(paths, [one.ids for one in found]),
        read=lambda: _stream(filesystem, paths),
    )


def _stream(filesystem: Any, paths: list[str]) -> ray.data.Dataset:
    context = DataContext.get_current().copy()
    # Version 2 lists the files in a task that needs a CPU, and so waits for ever once the actors,
    # which wait for images, hold them all.
    context.use_datasource_v2 = False
    with DataContext.current(context):
        return ray.data.read_parquet(
            paths,
            filesystem=filesystem,
            columns=COLUMNS,
            partitioning=None,  # a path such as year=2020/ would otherwise add a column
            num_cpus=0,
            concurrency=READERS,
        )


def _survey(filesystem: Any, path: str, task: Task) -> Survey:
    ids, digest = [np.empty(0, np.int64)], 0
    with reading(path), filesystem.open_input_file(path) as stream:
        file = open_file(stream, task, path)
        schema = file.schema.to_arrow_schema()
        for examples in read_batches(file, COLUMNS, task, path):
            ids.append(examples.ids)
            digest += _digest(examples)
    types = tuple(str(schema.field(name).type) for name in COLUMNS)
    return Survey(ids=np.concatenate(ids), digest=digest, types=types)


def _digest(examples: Examples) -> int:
    """The sum of all rows' SHA-256: it does not depend on their order, and ids are unique."""
    ids = examples.ids.astype("<i8")
    return sum(
        int.from_bytes(hashlib.sha256(ids[row].tobytes() + examples.images[row].tobytes()).digest())
        for row in range(len(ids))
    )


def _hex(digest: int) -> str:
    return f"{digest % (1 << SUM_BITS):064x}"


def _sorted_ids(paths: list[str], ids: list[np.ndarray]) -> np.ndarray:
    """All ids; UserError naming both places of the first one that is there twice."""
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
    return values[order]


def _check_same_types(paths: list[str], found: list[Survey]) -> None:
    for path, one in zip(paths, found, strict=True):
        if one.types != found[0].types:
            raise UserError(
                f"{path}: columns {' and '.join(COLUMNS)} are {' and '.join(one.types)},"
                f" expected {' and '.join(found[0].types)} as in {paths[0]}"
            )


def _slice(examples: Examples, start: int, stop: int) -> Examples:
    return Examples(ids=examples.ids[start:stop], images=examples.images[start:stop], labels=None)
