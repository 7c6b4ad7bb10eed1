"""Files that appear whole or not at all: written under a private name, then given their own."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from fmnist.errors import StorageError

RESERVED = ".fmnist-"  # begins the names of drafts and locks, which are no keys


@contextmanager
def draft(target: Path) -> Iterator[BinaryIO]:
    """A new file in the folder of `target`, under a name that nobody else has; removed at the end.

    It gets the mode that the umask gives to `target`, because it becomes `target`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    path = target.parent / f"{RESERVED}{secrets.token_hex(8)}"
    try:
        with path.open("xb") as file:
            yield file
    finally:
        path.unlink(missing_ok=True)


def put_in_place(file: BinaryIO, target: Path) -> None:
    """Gives a draft its name, in such an order that a crash leaves the old content or the new."""
    fsync(file)
    Path(file.name).replace(target)
    fsync_folder(target.parent)


def fsync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def fsync_folder(folder: Path) -> None:
    """Also if somebody else has deleted the folder by now."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A private folder for temporary files, removed at the end; UserError where the disk is full.

    What the block itself reads and writes elsewhere has its own words for its errors.
    """
    place = os.environ.get("TMPDIR", "/tmp")  # Python would take another where this one is full
    with os_errors(f"write temporary files to {place}"):
        folder = tempfile.mkdtemp(prefix="fmnist-", dir=place)
        try:
            yield Path(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def os_errors(action: str) -> Iterator[None]:
    """Says what the operating system refused (permission, a full disk) as the user's to mend."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot {action}: {error.strerror or error}") from error
