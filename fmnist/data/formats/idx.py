"""Fashion-MNIST's IDX files, plain or gzipped (format: http://yann.lecun.com/exdb/mnist/).

Reading takes no more memory than a file has bytes (once inflated), whatever its header claims.
"""

import gzip
from collections.abc import Callable
from typing import BinaryIO

import numpy as np

from fmnist.data.dataset import Examples, check_labels, check_room
from fmnist.data.locations import CHUNK
from fmnist.errors import UserError
from fmnist.storage.errors import READ_ERRORS, explain, read_errors
from fmnist.tasks import Rows, Task

IMAGES_MAGIC = 0x0803  # unsigned bytes in three dimensions
LABELS_MAGIC = 0x0801  # unsigned bytes in one dimension

FILES = {  # part: its images and its labels
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}

Opener = Callable[[str], BinaryIO]  # raises FileNotFoundError where there is no file of that name


def read_parts(task: Task, open_file: Opener, base: str) -> dict[str, Examples | None]:
    """The task's train and test examples from the files below `base`.

    A part is None where the files it is made from are missing; `open_file` may give a file plain or
    with `.gz`. Raises UserError for anything malformed.
    """
    if not task.train_rows and not task.test_rows:
        raise UserError(
            f"{base}: task {task.name!r} is not made from Fashion-MNIST's IDX files,"
            " expected Parquet, CSV or image files"
        )
    official = {part: _read_pair(task, open_file, base, part) for part in FILES}
    if not any(official.values()):
        raise UserError(
            f"{base}: found no IDX files, expected {', '.join(sum(FILES.values(), ()))}"
        )
    parts = {"train": task.train_rows, "test": task.test_rows}
    return {name: _assemble(task, official, rows, base) for name, rows in parts.items()}


def read_images(stream: BinaryIO, shape: tuple[int, int, int], where: str) -> np.ndarray:
    """(n, height, width, channels) uint8 with n ≥ 1. Raises UserError for anything else."""
    count, *found = _read_header(stream, IMAGES_MAGIC, 3, where)
    if (*found, 1) != shape:
        expected = " × ".join(map(str, shape))
        raise UserError(f"{where}: images of {found[0]} × {found[1]} × 1, expected {expected}")
    body = _read_body(stream, count * found[0] * found[1], f"{count:,} images", where)
    return body.reshape(count, *shape)


def read_labels(stream: BinaryIO, classes: int, where: str) -> np.ndarray:
    """(n,) int64 in 0..classes-1 with n ≥ 1. Raises UserError for anything else."""
    (count,) = _read_header(stream, LABELS_MAGIC, 1, where)
    labels = _read_body(stream, count, f"{count:,} labels", where).astype(np.int64)
    check_labels(labels, classes, where)
    return labels


def inflated(stream: BinaryIO, name: str) -> BinaryIO:
    """The stream itself; for a name that ends in `.gz`, a stream of the inflated bytes."""
    return gzip.GzipFile(fileobj=stream) if name.endswith(".gz") else stream  # type: ignore[return-value]


def read_at_most(stream: BinaryIO, most: int, where: str) -> bytearray:
    """Up to `most` bytes, in pieces, since one read would allocate memory for all of them."""
    data = bytearray()
    with read_errors(where):
        while len(data) < most and (piece := stream.read(min(CHUNK, most - len(data)))):
            data += piece
    return data


def _read_pair(
    task: Task, open_file: Opener, base: str, part: str
) -> tuple[np.ndarray, np.ndarray] | None:
    names = FILES[part]
    found = [_open_either(open_file, name, base) for name in names]
    missing = [name for name, entry in zip(names, found, strict=True) if entry is None]
    if len(missing) == len(names):
        return None
    if missing:
        raise UserError(f"{base}: {missing[0]} (or with .gz) is missing")
    (images_file, images_at), (labels_file, labels_at) = found  # type: ignore[misc]
    classes = len(task.label_rule.thresholds) if task.label_rule else len(task.classes)
    with images_file, labels_file:
        images = read_images(inflated(images_file, images_at), task.shape, images_at)
        labels = read_labels(inflated(labels_file, labels_at), classes, labels_at)
    if len(images) != len(labels):
        raise UserError(
            f"{images_at} has {len(images):,} images, {labels_at} {len(labels):,} labels"
        )
    return images, labels


def _open_either(open_file: Opener, name: str, base: str) -> tuple[BinaryIO, str] | None:
    for candidate in (name, f"{name}.gz"):
        where = f"{base.rstrip('/')}/{candidate}"
        try:
            return open_file(candidate), where
        except FileNotFoundError:
            continue
        except READ_ERRORS as error:
            raise UserError(f"{where}: {explain(error)}") from error
    return None


def _read_header(stream: BinaryIO, magic: int, dimensions: int, where: str) -> list[int]:
    """The sizes of the dimensions; the first, the count, is at least 1."""
    size = 4 + 4 * dimensions
    header = read_at_most(stream, size, where)
    if not header:
        raise UserError(f"{where}: is empty, expected an IDX file")
    found = int.from_bytes(header[:4], "big")
    if found != magic:
        raise UserError(f"{where}: magic number 0x{found:08x}, expected 0x{magic:08x}")
    if len(header) < size:
        raise UserError(f"{where}: ends after {len(header)} bytes, expected a header of {size}")
    sizes = [int.from_bytes(header[at : at + 4], "big") for at in range(4, size, 4)]
    if not sizes[0]:
        raise UserError(f"{where}: its header says that it holds nothing, expected at least one")
    return sizes


def _read_body(stream: BinaryIO, size: int, claim: str, where: str) -> np.ndarray:
    check_room(size, f"{where}: its header says {claim}, which")
    # One byte more than wanted shows what does not belong, and makes gzip check its checksum.
    body = read_at_most(stream, size + 1, where)
    if len(body) != size:
        found = "more" if len(body) > size else f"{len(body):,}"
        raise UserError(f"{where}: its header says {claim} in {size:,} bytes, found {found}")
    return np.frombuffer(body, np.uint8)


def _assemble(
    task: Task,
    official: dict[str, tuple[np.ndarray, np.ndarray] | None],
    rows: tuple[Rows, ...],
    base: str,
) -> Examples | None:
    pieces = []
    for row in rows:
        if (pair := official[row.part]) is None:
            return None
        images, labels = pair
        stop = len(images) if row.stop is None else row.stop
        if not row.start < stop <= len(images):
            raise UserError(
                f"{base}: the {row.part} files hold {len(images):,} images,"
                f" task {task.name!r} needs rows {row.start:,} to {row.stop or 'the end'}"
            )
        pieces.append((images[row.start : stop], labels[row.start : stop]))
    images, labels = (
        pieces[0] if len(pieces) == 1 else map(np.concatenate, zip(*pieces, strict=True))
    )
    if task.label_rule:
        labels = task.label_rule.apply(images, labels)
    return Examples(ids=np.arange(len(images)), images=images, labels=labels)
