"""Files and folders that appear whole or not at all: written under a private name, then renamed."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO

from fmnist.storage.errors import os_errors

RESERVED = ".fmnist-"  # begins the names of unfinished files and of locks, which are no keys


@contextmanager
def atomic_write(
    target: Path, *, lock: AbstractContextManager[None] | None = None
) -> Iterator[BinaryIO]:
    """Yields a new file that takes the place of `target` once the block has ended without an error.

    Readers find the old content or the new, also after a crash. `lock` is held only while the file
    is renamed, so that other holders don't wait for a slow disk.
    """
    with unfinished_file(target) as file:
        yield file
        replace_by(target, file, lock=lock)


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yields a new folder that becomes `target` once the block has ended without an error.

    Raises OSError if there is a `target` by then that is not an empty folder.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=target.parent, prefix=RESERVED))
    try:
        yield folder
        folder.chmod(0o755)  # mkdtemp gives it to its owner alone
        folder.rename(target)
        fsync_folder(target.parent)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


@contextmanager
def unfinished_file(target: Path) -> Iterator[BinaryIO]:
    """Yields a new file beside `target`, under a name that no other file has; removed at the end.

    Its mode is the one that the umask gives to `target`, because it may become `target`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    path = target.parent / f"{RESERVED}{secrets.token_hex(8)}"
    try:
        with path.open("xb") as file:
            yield file
    finally:
        path.unlink(missing_ok=True)


def replace_by(
    target: Path, file: BinaryIO, *, lock: AbstractContextManager[None] | None = None
) -> None:
    """Renames an unfinished file to `target`; after a crash `target` is the old file or the new."""
    fsync(file)
    with lock or nullcontext():
        Path(file.name).replace(target)
    fsync_folder(target.parent)


def fsync(file: BinaryIO) -> None:
    """Waits until what was written to the file is on the disk."""
    file.flush()
    os.fsync(file.fileno())


def fsync_folder(folder: Path) -> None:
    """Waits until the names of the files in the folder are on the disk.

    Does nothing if somebody else has deleted the folder by now.
    """
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
    """Yields a private folder for temporary files, removed at the end.

    Raises StorageError where the disk is full. Any OSError of the block becomes one, so the block
    has to translate those that come from files elsewhere.
    """
    place = os.environ.get("TMPDIR", "/tmp")  # Python would take another where this one is full
    with os_errors(f"write temporary files to {place}"):
        folder = tempfile.mkdtemp(prefix="fmnist-", dir=place)
        try:
            yield Path(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
