"""Storage in a folder: locally, or on a file system that the nodes share and that has `flock`."""

import fcntl
import hashlib
import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.fs

from fmnist.errors import UserError
from fmnist.storage.atomic import (
    RESERVED,
    atomic_write,
    fsync,
    fsync_folder,
    unfinished_file,
)
from fmnist.storage.base import Readable, Storage, Writable, check_key
from fmnist.storage.errors import os_errors

LOCK = f"{RESERVED}lock"  # one for each root; never removed, since two could hold a removed lock
CHUNK = 1 << 20  # bytes copied at a time
# A key that goes through a file, or that is a folder, is absent, as it is on S3.
ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


@dataclass(frozen=True, kw_only=True)
class LocalStorage(Storage):
    """`root` is an absolute folder, or a symbolic link to one; the first write makes it.

    Links below the root are followed if they stay below it: a key can't lead out of the root.
    """

    root: Path

    @property
    def uri(self) -> str:
        return str(self.root)

    def check(self, *, writable: bool, probe: bool = True) -> None:
        with os_errors(f"open {self.uri}"):
            found = next(path for path in (self.root, *self.root.parents) if path.exists())
            is_folder = found.is_dir()
        if not is_folder:
            raise UserError(f"storage {self.uri}: {found} is a file, expected a folder")
        if not writable and found != self.root:
            raise UserError(f"storage {self.uri}: there is no such folder")
        wanted = os.R_OK | os.X_OK | (os.W_OK if writable else 0)
        if not os.access(found, wanted):
            action = "write to" if writable else "read"
            raise UserError(f"storage {self.uri}: no permission to {action} {found}")

    def read_version(self, key: str) -> tuple[bytes, str] | None:
        path = self._path(key)
        with os_errors(f"read {path}"):
            try:
                data = path.read_bytes()
            except ABSENT:
                return None
        return data, _version(data)

    def write(self, key: str, data: bytes) -> None:
        with os_errors(f"write {self._path(key)}"):
            self._upload_from(io.BytesIO(data), key)

    def replace(self, key: str, data: bytes, *, version: str | None) -> str | None:
        path = self._path(key)
        with os_errors(f"write {path}"), unfinished_file(path) as file:
            file.write(data)
            fsync(file)
            if version is None:
                return _version(data) if _link(Path(file.name), path) else None
            with self._locked():
                found = self.read_version(key)
                if found is None or found[1] != version:
                    return None
                Path(file.name).replace(path)
            fsync_folder(path.parent)
        return _version(data)

    def keys(self, prefix: str = "") -> list[str]:
        start = self._path(prefix) if prefix else self.root
        with os_errors(f"list {start}"):
            if start.is_file():
                return [prefix]
            return sorted(
                Path(folder, name).relative_to(self.root).as_posix()
                for folder, _, names in os.walk(start, onerror=_raise_unless_absent)
                for name in names
                if not name.startswith(RESERVED)
            )

    def folders(self, prefix: str) -> list[str]:
        start = self._path(prefix)
        with os_errors(f"list {start}"):
            try:
                entries = list(os.scandir(start))
            except ABSENT:
                return []
            names = [entry.name for entry in entries if entry.is_dir()]
        return sorted(name for name in names if not name.startswith(RESERVED))

    def modification_times(self, prefix: str) -> dict[str, datetime]:
        times = {}
        for key in self.keys(prefix):
            path = self._path(key)
            with os_errors(f"read {path}"), suppress(FileNotFoundError):  # deleted meanwhile
                times[key] = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        return times

    def delete(self, prefix: str) -> None:
        path = self._path(prefix)
        with os_errors(f"delete {path}"):
            if path.is_dir():
                with self._locked(), suppress(FileNotFoundError):
                    shutil.rmtree(path)
            elif path.exists():
                with self._locked():
                    path.unlink(missing_ok=True)

    def delete_unfinished(self, prefix: str, *, before: datetime) -> None:
        start = self._path(prefix)
        with os_errors(f"delete unfinished files in {start}"):
            for folder, _, names in os.walk(start, onerror=_raise_unless_absent):
                for path in (Path(folder, name) for name in names if name.startswith(RESERVED)):
                    with suppress(FileNotFoundError):
                        if datetime.fromtimestamp(path.stat().st_mtime, UTC) < before:
                            path.unlink()

    def arrow(self, key: str = "") -> tuple[pyarrow.fs.FileSystem, str]:
        return pyarrow.fs.LocalFileSystem(), str(self._path(key) if key else self.root)

    def _upload_from(self, source: Readable, key: str) -> None:
        with atomic_write(self._path(key), lock=self._locked()) as file:
            shutil.copyfileobj(source, file, CHUNK)

    def _download_to(self, sink: Writable, key: str) -> bool:
        try:
            with self._path(key).open("rb") as file:
                shutil.copyfileobj(file, sink, CHUNK)
        except ABSENT:
            return False
        return True

    def _path(self, key: str) -> Path:
        path = self.root / check_key(key)
        if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(self.root)):
            raise UserError(f"storage {self.uri}: {key} leaves it by a symbolic link")
        return path

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keeps all processes from changing a key between a compare and its swap.

        It is held as shortly as can be, and never while a disk writes: for as long as a process
        that holds it stands still, all others wait.
        """
        with (self.root / LOCK).open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _version(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _link(source: Path, target: Path) -> bool:
    """Gives a finished file its name and returns True; returns False if the name is taken.

    Unlike a rename, a link never replaces a file.
    """
    try:
        os.link(source, target)
    except FileExistsError:
        if target.is_dir():
            raise
        return False
    fsync_folder(target.parent)
    return True


def _raise_unless_absent(error: OSError) -> None:
    """Raises what `os.walk` would hide, unless a folder was deleted while it was listed."""
    if not isinstance(error, ABSENT):
        raise error
