"""Parquet data sets whose images stay in their files, the shards, until they are needed.

Ids are checked and labels are kept; images are read by `StreamedImages`. The fingerprint follows
from the SHA-256 of the files, in their order: a published data set of the storage has them in its
manifest, other files are read once for it. It is another one than that of the same images in
memory, because the order in which a streamed run trains on them depends on the shards.
"""

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pyarrow import parquet as pq

from fmnist.data.dataset import check_ids, check_labels
from fmnist.data.formats.parquet import (
    PARTS,
    find_parquet_files,
    open_parquet,
    read_batches,
    read_footer,
)
from fmnist.data.formats.parquet_schema import read_integers
from fmnist.data.locations import Location
from fmnist.errors import UserError
from fmnist.storage.base import HashingStream, Writable
from fmnist.storage.errors import os_errors, read_errors
from fmnist.storage.manifest import MANIFEST, parse_manifest
from fmnist.tasks import Task

log = logging.getLogger(__name__)

CHUNK = 8 << 20  # bytes that are copied at once: on S3 each is a request
PARALLEL_READS = 8  # files that are read at the same time; on S3 most of the time is waiting


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A Parquet file of `rows` images; `sha256` is that of the file, 64 hexadecimal digits."""

    path: str
    rows: int
    sha256: str


@dataclass(frozen=True, kw_only=True, eq=False)
class ShardedPart:
    """One part of a data set, in the order of its files.

    `labels` is (n,), in the smallest type that holds the classes, or None where they are unknown.
    """

    task: Task
    filesystem: Any
    shards: tuple[Shard, ...]
    labels: np.ndarray | None

    def __len__(self) -> int:
        return sum(shard.rows for shard in self.shards)

    def write_pixels(self, shard: Shard, sink: Writable, scratch: Path) -> None:
        """Writes the pixels of all images of a shard.

        The file is copied to the folder `scratch` first, so that what is decoded is what was
        verified. Raises UserError if it is missing, or not the file that it was.
        """
        action = f"keep shards in {scratch}"  # a full disk is not the shard's fault
        with tempfile.TemporaryFile(dir=scratch) as copy:
            stream = HashingStream(copy)
            with (
                read_errors(shard.path),
                self.filesystem.open_input_stream(shard.path, compression=None) as source,
            ):
                while data := source.read(CHUNK):
                    with os_errors(action):
                        stream.write(data)
            if stream.digest.sha256 != shard.sha256:
                raise UserError(
                    f"{shard.path}: has changed: found {stream.digest.size} bytes with SHA-256 "
                    f"{stream.digest.sha256}, expected {shard.sha256}"
                )
            with os_errors(action):
                copy.seek(0)  # writes what is left of it
            with read_errors(shard.path):
                file = open_parquet(copy)
                for examples in read_batches(file, ["id", "image"], self.task, shard.path):
                    with os_errors(action):
                        sink.write(examples.images.tobytes())


@dataclass(frozen=True, kw_only=True, eq=False)
class ShardedDataset:
    """Like a `Dataset`, but with its images in files."""

    task: Task
    train: ShardedPart | None
    test: ShardedPart | None
    source: str

    @property
    def fingerprint(self) -> str:
        """64 hex digits that follow from the task and the files in their order."""
        parts = [
            [name, part.labels is not None, [shard.sha256 for shard in part.shards]]
            for name, part in (("train", self.train), ("test", self.test))
            if part is not None
        ]
        content = json.dumps([self.task.details, parts], sort_keys=True, allow_nan=False)
        return hashlib.sha256(content.encode()).hexdigest()

    def count_labelled(self) -> int:
        """Number of training examples; UserError if there are none with labels."""
        if self.train is None or self.train.labels is None:
            raise UserError(f"{self.source}: found no labelled training examples, expected some")
        return len(self.train)


def count_images(location: Location, task: Task) -> int:
    """Number of images in the Parquet files at a location, from their footers alone."""
    paths = [path for part in PARTS for path in find_parquet_files(location, part)]
    return sum(_in_parallel(lambda path: _read_rows(location, path, task), paths))


def open_shards(location: Location, task: Task, *, source: str | None = None) -> ShardedDataset:
    """The Parquet data set at a location. Raises UserError as `load` does, images excepted.

    What is wrong with an image is found when it is decoded.
    """
    known = _published_digests(location)
    parts = {part: _open_part(location, task, part, known) for part in PARTS}
    if not any(parts.values()):
        raise UserError(f"{location.uri}: found no train and no test data for task {task.name!r}")
    if parts["train"] is not None and parts["train"].labels is None:
        raise UserError(f"{location.uri}: its train part has no labels")
    return ShardedDataset(
        task=task,
        train=parts["train"],
        test=parts["test"],
        source=source or f"parquet at {location.uri}",
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Contents:
    """A file without its images; `labels` is None where it has no such column."""

    shard: Shard
    ids: np.ndarray
    labels: np.ndarray | None


def _open_part(
    location: Location, task: Task, part: str, known: dict[str, str]
) -> ShardedPart | None:
    paths = find_parquet_files(location, part)
    if not paths:
        return None
    root = f"{location.path.rstrip('/')}/"
    found = _in_parallel(
        lambda path: _read_contents(location, path, task, known.get(path.removeprefix(root))), paths
    )
    filled = [each for each in found if each.shard.rows]
    if not filled:
        raise UserError(f"{location.uri}: its {part} files have no rows")
    labels = [each.labels for each in filled if each.labels is not None]
    if labels and len(labels) < len(filled):
        raise UserError(f"{location.uri}: some {part} files have a label column and others do not")
    check_ids(np.concatenate([each.ids for each in filled]), f"{location.uri} ({part})")
    return ShardedPart(
        task=task,
        filesystem=location.filesystem,
        shards=tuple(each.shard for each in filled),
        labels=np.concatenate(labels) if labels else None,
    )


def _read_contents(location: Location, path: str, task: Task, digest: str | None) -> _Contents:
    """Reads ids and labels, and, unless the digest is known, the whole file for it."""
    assert location.filesystem is not None
    labels = None
    with read_errors(path), location.filesystem.open_input_file(path) as stream:
        footer = read_footer(stream, task, path)
        names = [name for name in ("id", "label") if name in footer.schema.to_arrow_schema().names]
        table = pq.ParquetFile(stream, metadata=footer).read(columns=names)
        if digest is None:
            stream.seek(0)
            hashing = HashingStream(None)
            shutil.copyfileobj(stream, hashing, CHUNK)
            digest = hashing.digest.sha256
    if "label" in names:
        labels = read_integers(table, "label", path)
        check_labels(labels, len(task.classes), path)
        labels = labels.astype(np.min_scalar_type(len(task.classes) - 1))
    return _Contents(
        shard=Shard(path=path, rows=footer.num_rows, sha256=digest),
        ids=read_integers(table, "id", path),
        labels=labels,
    )


def _read_rows(location: Location, path: str, task: Task) -> int:
    assert location.filesystem is not None
    with read_errors(path), location.filesystem.open_input_file(path) as stream:
        return int(read_footer(stream, task, path).num_rows)


def _published_digests(location: Location) -> dict[str, str]:
    """The SHA-256 of the files of a published data set, by path below the location."""
    if location.is_file() or MANIFEST not in location.names():
        return {}
    where = f"{location.uri}/{MANIFEST}"
    with read_errors(where), location.child(MANIFEST).open() as stream:
        data = stream.read()
    try:
        manifest = parse_manifest(data, where)
    except UserError as error:  # perhaps another program's file of that name
        log.warning("%s; the digests of its data are computed", error)
        return {}
    return {entry.path: entry.sha256 for entry in manifest.files.values()}


def _in_parallel(work: Any, paths: Sequence[str]) -> list[Any]:
    with ThreadPoolExecutor(PARALLEL_READS) as pool:
        return list(pool.map(work, paths))
