"""The images to score, with unique ids; all are read and hashed once before the first is scored.

Ray Data streams Parquet files, which are never in memory as a whole; other formats are already.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path

import numpy as np
import pyarrow as pa
import ray
from pyarrow.fs import FileSystem
from ray.data import DataContext
from ray.util.annotations import RayDeprecationWarning

from fmnist.cluster.nodes import NodeAddress
from fmnist.cluster.remote import TASK_RETRIES, get_result
from fmnist.cluster.resources import check_cpu_for_reading
from fmnist.data.dataset import Dataset, Examples
from fmnist.data.fingerprints import fingerprint_of, row_digests, short_hashes, sum_of_hashes
from fmnist.data.formats.parquet import find_parquet_files
from fmnist.data.formats.parquet_schema import to_table
from fmnist.data.load import find_format, load, load_format
from fmnist.data.locations import OFFICIAL, Location, locate
from fmnist.errors import UserError
from fmnist.models.classifier import batch_rows
from fmnist.scoring.file_summary import (
    COLUMNS,
    FileSummary,
    check_same_types,
    hash_of_names,
    join_names,
    order_by_id,
    summarize_file,
)
from fmnist.storage.errors import read_errors
from fmnist.tasks import Task

CHUNK_BYTES = 2 << 20  # of pixels that are passed to Ray at once, at most
ID_BYTES = 8  # beside the pixels of each image
PARALLEL_READS = 2  # files that are read at the same time
Reader = Callable[[], ray.data.Dataset]


def rows_per_block(shape: tuple[int, int, int]) -> int:
    """Images that are passed to Ray at once: full batches, since an actor pads the last of each."""
    batch = batch_rows(shape)
    return max(1, CHUNK_BYTES // prod(shape) // batch) * batch


def block_bytes(shape: tuple[int, int, int]) -> int:
    """Size of a block of ids and images for Ray Data, which rounds its rows up: half a row less."""
    return rows_per_block(shape) * (ID_BYTES + prod(shape)) - prod(shape) // 2


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Images to score: `ids` are (n,) int64, sorted and unique.

    `fingerprint` follows from ids and images alone, whatever their order, files and format.
    `hashes` (n,) uint64 are short hashes of each id with its image. `reader` takes the positions,
    or a mask (n,), of the images that are wanted, and gives a function that makes a Ray data set of
    id and image: of these, and of others in the same files. `are_unchanged` returns False if the
    data are no longer what was hashed. `names` (n,) are those of images that were files.
    """

    source: str  # for people; holds no credentials
    fingerprint: str
    ids: np.ndarray
    hashes: np.ndarray
    reader: Callable[[np.ndarray], Reader]
    are_unchanged: Callable[[], bool]
    names: pa.Array | None = None

    def changed_error(self, what: str) -> UserError:
        """Makes the error for data that are no longer what was hashed."""
        return UserError(
            f"{self.source}: changed while it was scored ({what}), expected data that stay as they"
            f" are: nothing is published; the same command scores what is there now"
        )


def find_inputs(
    task: Task, place: str | Location = OFFICIAL, *, cache: Path | None = None
) -> Inputs:
    """Finds the test part of the data at `place`, as `data.load` does. Ray must be running.

    Raises UserError as `load` does, and where there is no test part.
    """
    if place == OFFICIAL:
        return from_dataset(load(task, cache=cache))
    location = locate(place)
    if (format := find_format(location)) == "parquet":
        return from_parquet(task, location)
    return from_dataset(load_format(task, location, format))


def from_dataset(dataset: Dataset) -> Inputs:
    """Takes the test part of a data set in memory; raises UserError if there is none."""
    if dataset.test is None:
        raise UserError(f"{dataset.source}: has no test part, expected one to score")
    return from_examples(dataset.test, source=dataset.source)


def from_examples(examples: Examples, *, source: str) -> Inputs:
    """Takes examples in memory; they go to Ray's object store when they are read."""
    rows = rows_per_block(examples.images.shape[1:])

    def tables() -> list[pa.Table]:
        starts = range(0, len(examples), rows)
        return [to_table(_slice(examples, start, start + rows)) for start in starts]

    digests, order = row_digests(examples), np.argsort(examples.ids)
    return Inputs(
        source=source,
        fingerprint=fingerprint_of(sum_of_hashes(digests)),
        ids=examples.ids[order],
        hashes=short_hashes(digests)[order],
        reader=lambda wanted: lambda: ray.data.from_arrow(tables()),
        are_unchanged=lambda: True,
    )


def from_parquet(task: Task, location: Location) -> Inputs:
    """Reads and hashes the test part of a Parquet data set, file by file in parallel tasks.

    Raises UserError naming file and row for a null, a repeated id or an image of another size, and
    naming the files for columns that are missing or differ.
    """
    filesystem, paths = location.filesystem, find_parquet_files(location)
    before = _sizes_and_times(filesystem, paths)
    if not paths:
        raise UserError(f"{location.uri}: has no test part, expected one to score")
    check_cpu_for_reading()
    driver = NodeAddress.here()
    summarize = ray.remote(max_retries=TASK_RETRIES)(summarize_file)
    found: list[FileSummary] = get_result(
        [summarize.remote(filesystem, path, task, driver) for path in paths],
        f"looking at {location.uri}",
    )
    if not sum(len(one.ids) for one in found):
        raise UserError(f"{location.uri}: has no rows, expected images to score")
    check_same_types(paths, found)
    order = order_by_id(paths, [one.ids for one in found])
    files = np.repeat(np.arange(len(paths), dtype=np.int32), [len(one.ids) for one in found])[order]
    names = join_names([one.names for one in found])
    fingerprint = fingerprint_of(sum(one.sum_of_hashes for one in found) + hash_of_names(names))

    def are_unchanged() -> bool:
        now = find_parquet_files(location)
        if now == paths and _sizes_and_times(filesystem, paths) == before:
            return True
        return from_parquet(task, location).fingerprint == fingerprint

    return Inputs(
        source=f"parquet at {location.uri}",
        fingerprint=fingerprint,
        ids=np.concatenate([one.ids for one in found])[order],
        hashes=np.concatenate([one.hashes for one in found])[order],
        reader=lambda wanted: partial(
            _stream, filesystem, [paths[number] for number in np.unique(files[wanted])]
        ),
        are_unchanged=are_unchanged,
        names=None if names is None else names.take(pa.array(order)),
    )


def _sizes_and_times(filesystem: FileSystem, paths: list[str]) -> list[tuple[int, int]]:
    """Size in bytes and time of the last change of each file."""
    with read_errors(", ".join(paths[:1])):
        return [(info.size, info.mtime_ns) for info in filesystem.get_file_info(paths)]


def _stream(filesystem: FileSystem, paths: list[str]) -> ray.data.Dataset:
    context = DataContext.get_current().copy()
    # Version 2 lists the files in a task that needs a CPU, and waits for ever if the actors, which
    # wait for images, hold all CPUs.
    context.use_datasource_v2 = False
    with DataContext.current(context), warnings.catch_warnings():
        # Ray would restart a task that dies without end; only this deprecated parameter ends it.
        warnings.simplefilter("ignore", RayDeprecationWarning)
        return ray.data.read_parquet(
            paths,
            filesystem=filesystem,
            columns=COLUMNS,
            partitioning=None,  # a path such as year=2020/ would otherwise add a column
            ray_remote_args={"num_cpus": 0, "max_retries": TASK_RETRIES},
            concurrency=PARALLEL_READS,
            override_num_blocks=len(paths),  # Ray would halve the blocks of a few files
        )


def _slice(examples: Examples, start: int, stop: int) -> Examples:
    return Examples(ids=examples.ids[start:stop], images=examples.images[start:stop], labels=None)
