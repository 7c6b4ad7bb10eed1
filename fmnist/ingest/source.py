"""Images that were found but not read yet: their names, order and labels, and how to read them."""

import errno
import hashlib
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from pyarrow import fs
from pyarrow import parquet as pq

from fmnist.data.formats.parquet import open_parquet
from fmnist.errors import UserError
from fmnist.storage.errors import read_errors

Labels = Sequence[str | int | None]  # None is refused, unless the images are only scored
BATCH_ROWS = 256  # images that are held at once, if they are in Parquet


class ImageRows(Protocol):
    """Some consecutive images of a part, read by the process that decodes them."""

    def read(self) -> Iterator[bytes | None]:
        """The bytes of each image in order; None where there are none.

        Raises UserError for what can't be read now: only bytes say that an image is bad. Raises
        FileNotFoundError for a local file that this node has not, since other nodes may have it.
        """


@dataclass(frozen=True, kw_only=True)
class FileRows:
    """One file for each image."""

    filesystem: Any
    paths: Sequence[str]

    def read(self) -> Iterator[bytes | None]:
        for path in self.paths:
            with _file_errors(self.filesystem, path), self.filesystem.open_input_file(path) as file:
                data = file.read()
            yield data


@dataclass(frozen=True, kw_only=True)
class ParquetRows:
    """Images in Parquet files, encoded or raw: `pieces` are (path, first row, number of rows)."""

    filesystem: Any
    column: str
    pieces: Sequence[tuple[str, int, int]]

    def read(self) -> Iterator[bytes | None]:
        for path, first, count in self.pieces:
            with (
                _file_errors(self.filesystem, path),
                self.filesystem.open_input_file(path) as stream,
            ):
                yield from self._read_piece(open_parquet(stream), first, count)

    def _read_piece(self, file: pq.ParquetFile, first: int, count: int) -> Iterator[bytes | None]:
        start = 0  # of the row group
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            skipped, stop = max(0, first - start), min(rows, first + count - start)
            if skipped < stop:
                images = self._read_group(file, group)
                yield from (image.as_py() for image in islice(images, skipped, stop))
            start += rows

    def _read_group(self, file: pq.ParquetFile, group: int) -> Iterator[pa.Scalar]:
        for batch in file.iter_batches(BATCH_ROWS, row_groups=[group], columns=[self.column]):
            yield from image_bytes(batch.column(0))


@contextmanager
def _file_errors(filesystem: fs.FileSystem, path: str) -> Iterator[None]:
    """Names the file in what `ImageRows.read` raises."""
    try:
        with read_errors(path):
            yield
    except UserError as error:
        absent = isinstance(error.__cause__, FileNotFoundError)
        if absent and isinstance(filesystem, fs.LocalFileSystem):
            raise FileNotFoundError(errno.ENOENT, "no such file", path) from None
        raise


def file_stamp(files: Iterable[tuple[str, fs.FileInfo]]) -> str:
    """A digest of files by their names, sizes and times; each comes with its name, sorted."""
    digest = hashlib.sha256()
    for name, info in files:
        digest.update(f"{name}\0{info.size}\0{info.mtime_ns}\n".encode())
    return digest.hexdigest()


def image_bytes(column: pa.Array) -> pa.Array:
    """The bytes of the images in a column of them, or of Hugging Face's `struct<bytes, path>`."""
    return column.field("bytes") if pa.types.is_struct(column.type) else column


def is_printable(name: str) -> bool:
    """True if nothing in a name, but for spaces of any kind, is invisible or breaks a line."""
    return name.isprintable() or all(
        each.isprintable() or unicodedata.category(each) == "Zs" for each in name
    )


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
    first_in_file: int = 0  # row at which the first of the Parquet files begins

    def name(self, row: int) -> str:
        """Name of an image for messages."""
        if self.column is None:
            return self.paths[row - self.first]
        starts = self._file_starts()
        file = int(np.searchsorted(starts, row, side="right")) - 1
        return f"{self.paths[file]} row {row - starts[file]}"

    def rows(self, start: int, stop: int) -> ImageRows:
        """The images from row `start` to before `stop`."""
        if self.column is None:
            paths = self.paths[start - self.first : stop - self.first]
            return FileRows(filesystem=self.filesystem, paths=paths)
        pieces = []
        for path, first, count in zip(
            self.paths, self._file_starts().tolist(), self.file_rows, strict=True
        ):
            begin, end = max(start, first), min(stop, first + count)
            if begin < end:
                pieces.append((path, begin - first, end - begin))
        return ParquetRows(filesystem=self.filesystem, column=self.column, pieces=pieces)

    def cut(self, start: int, stop: int) -> "ImagePart":
        """Returns rows `start` to before `stop` as a task needs them; rows keep their numbers."""
        names = None if self.names is None else self.names[start:stop]
        part = replace(self, size=stop - start, names=names, labels=None, first=start)
        if self.column is None:
            return replace(part, paths=self.paths[start:stop])
        starts = self._file_starts()
        first, last = np.searchsorted(starts, (start, stop - 1), side="right") - 1
        files = slice(first, last + 1)
        return replace(
            part,
            paths=self.paths[files],
            file_rows=self.file_rows[files],
            first_in_file=int(starts[first]),
        )

    def _file_starts(self) -> np.ndarray:
        """(files,) The row at which each Parquet file begins."""
        return self.first_in_file + np.cumsum([0, *self.file_rows[:-1]])

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

    `stamp_now` looks at the files again. `classes` are the names of the labels' numbers, where the
    source has some. `ignored` names files or folders with images that are of no part.
    """

    uri: str
    parts: dict[str, ImagePart]  # train, test, or both
    stamp: str
    stamp_now: Callable[[], str]
    classes: tuple[str, ...] | None = None
    ignored: Sequence[str] = ()
    scored: bool = False  # all images are the test part, and none has a label

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
                order = sorted(range(part.size), key=part.paths.__getitem__)
                part = part.take(np.array(order))
        return replace(self, parts={"test": replace(part, labels=None)}, scored=True)
