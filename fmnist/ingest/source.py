"""Images that were found but not read yet: their names, order and labels, and how to read them."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from pyarrow import fs
from pyarrow import parquet as pq

from fmnist.storage.errors import READ_ERRORS, explain

Labels = Sequence[str | int]


class Rows(Protocol):
    """Some consecutive images of a part, read by the process that decodes them."""

    def read(self) -> Iterator[bytes | str]:
        """The bytes of each file in order, or the reason why it can't be read."""


@dataclass(frozen=True, kw_only=True)
class FileRows:
    """One file for each image."""

    filesystem: Any
    paths: Sequence[str]

    def read(self) -> Iterator[bytes | str]:
        for path in self.paths:
            try:
                with self.filesystem.open_input_file(path) as file:
                    yield file.read()
            except READ_ERRORS as error:
                yield explain(error)


@dataclass(frozen=True, kw_only=True)
class ParquetRows:
    """Encoded images in Parquet files: `pieces` are (path, first row, number of rows)."""

    filesystem: Any
    column: str
    pieces: Sequence[tuple[str, int, int]]

    def read(self) -> Iterator[bytes | str]:
        for path, first, count in self.pieces:
            with self.filesystem.open_input_file(path) as stream:
                yield from self._read_piece(pq.ParquetFile(stream), first, count)

    def _read_piece(self, file: pq.ParquetFile, first: int, count: int) -> Iterator[bytes | str]:
        start = 0  # of the row group
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            skipped, stop = max(0, first - start), min(rows, first + count - start)
            if skipped < stop:
                table = file.read_row_group(group, columns=[self.column])
                for value in image_bytes(table[self.column]).slice(skipped, stop - skipped):
                    yield value.as_py() or "the image is null"
            start += rows


def file_stamp(files: Iterable[tuple[str, fs.FileInfo]]) -> str:
    """A digest of files by their names, sizes and times; each comes with its name, sorted."""
    digest = hashlib.sha256()
    for name, info in files:
        digest.update(f"{name}\0{info.size}\0{info.mtime_ns}\n".encode())
    return digest.hexdigest()


def image_bytes(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The encoded bytes in a column of them, or of Hugging Face's `struct<bytes, path>`."""
    if pa.types.is_struct(column.type):
        return pa.chunked_array([chunk.field("bytes") for chunk in column.chunks], pa.binary())
    return column


@dataclass(frozen=True, kw_only=True, eq=False)
class ImagePart:
    """The images of one part of a data set in their order.

    `names` are their ids, unique: paths below the part's folder, or a column's; None where they are
    numbered by their rows. `labels` are names or numbers of classes; None where they are unknown.
    """

    size: int
    names: Sequence[str] | None
    labels: Labels | None
    paths: Sequence[str]  # of the files: one for each image, or of Parquet
    filesystem: Any
    column: str | None = None  # of the images in Parquet
    file_rows: Sequence[int] = ()  # of each Parquet file
    raw: bool = False  # the bytes are pixels of the task's shape, not an image file
    first: int = 0  # row of the first image, in what was cut out of a part

    def name(self, row: int) -> str:
        """Name of an image for messages."""
        if self.column is None:
            return self.paths[row - self.first]
        file = int(np.searchsorted(np.cumsum(self.file_rows), row, side="right"))
        return f"{self.paths[file]} row {row - sum(self.file_rows[:file])}"

    def rows(self, start: int, stop: int) -> Rows:
        """The images from row `start` to before `stop`."""
        if self.column is None:
            paths = self.paths[start - self.first : stop - self.first]
            return FileRows(filesystem=self.filesystem, paths=paths)
        pieces, first = [], 0
        for path, count in zip(self.paths, self.file_rows, strict=True):
            begin, end = max(start, first), min(stop, first + count)
            if begin < end:
                pieces.append((path, begin - first, end - begin))
            first += count
        return ParquetRows(filesystem=self.filesystem, column=self.column, pieces=pieces)

    def cut(self, start: int, stop: int) -> "ImagePart":
        """Returns rows `start` to before `stop` as a task needs them; rows keep their numbers."""
        names = None if self.names is None else self.names[start:stop]
        paths = self.paths[start:stop] if self.column is None else self.paths
        return replace(self, size=stop - start, names=names, labels=None, paths=paths, first=start)

    def take(self, rows: np.ndarray) -> "ImagePart":
        """The images at these rows; only of a part with a file for each image."""
        assert self.names is not None and self.column is None
        return ImagePart(
            size=len(rows),
            names=[self.names[row] for row in rows],
            labels=None if self.labels is None else [self.labels[row] for row in rows],
            paths=[self.paths[row] for row in rows],
            filesystem=self.filesystem,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageSource:
    """Images at one place; `stamp` changes with their files' names, sizes and times.

    `stamp_now` looks at the files again.

    `classes` are the names of the labels' numbers, where the source has some.
    """

    uri: str
    parts: dict[str, ImagePart]  # train, test, or both
    stamp: str
    stamp_now: Callable[[], str]
    classes: tuple[str, ...] | None = None

    @property
    def raw(self) -> bool:
        """True if the images are pixels, which say nothing of their shape."""
        return any(part.raw for part in self.parts.values())

    def to_score(self) -> "ImageSource":
        """The images of the test part, or else all of them by their paths, without labels."""
        part = self.parts.get("test")
        if part is None:
            part = self.parts["train"]
            if part.column is None:  # the classes of training images alternate
                part = part.take(np.argsort(part.paths))
        return replace(self, parts={"test": replace(part, labels=None)})
