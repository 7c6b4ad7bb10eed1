"""Interface of storage, and what folders and S3 share: rules of keys, transfers, digests."""

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol

import pyarrow.fs

from fmnist.errors import UserError
from fmnist.storage.atomic import RESERVED, replace_by, unfinished_file
from fmnist.storage.errors import os_errors


class Readable(Protocol):
    """A stream of bytes to be read."""

    def read(self, size: int = -1, /) -> bytes: ...


class Writable(Protocol):
    """A stream that bytes are written to."""

    def write(self, data: bytes, /) -> int: ...


@dataclass(frozen=True, kw_only=True)
class FileDigest:
    """`size` in bytes and `sha256` as 64 hexadecimal digits."""

    size: int
    sha256: str


class Storage(ABC):
    """Files under one URI, named by keys: relative paths like `runs/1f/model.keras`.

    A key that could leave the root, and whatever the store refuses, raises UserError that names
    URI, operation and reason, and never a credential. Objects can be pickled and sent to workers.
    """

    @property
    @abstractmethod
    def uri(self) -> str:
        """The URI that `open_storage` opens again, without a slash at the end."""

    @abstractmethod
    def check(self, *, writable: bool, probe: bool = True) -> None:
        """Raises UserError where there is no such place, or no permission; leaves nothing there.

        With `probe`, a file may be written and removed, to find out if the store is fit for writes.
        """

    @abstractmethod
    def read_version(self, key: str) -> tuple[bytes, str] | None:
        """The content and its version, which is a digest: equal contents have equal versions.

        None if there is no such key.
        """

    @abstractmethod
    def write(self, key: str, data: bytes) -> None:
        """Writes `data` so that a reader sees the old content or the new one, never a part."""

    @abstractmethod
    def replace(self, key: str, data: bytes, *, version: str | None) -> str | None:
        """Writes if the content still has that version; None: if there is no such key yet.

        Returns the new version if it was written, else None: of many that try at the same time, one
        succeeds.
        """

    @abstractmethod
    def keys(self, prefix: str = "") -> list[str]:
        """The key `prefix` itself and all keys below `prefix/`, sorted; without a prefix, all."""

    @abstractmethod
    def folders(self, prefix: str) -> list[str]:
        """Names of the folders in `prefix`, sorted. What is in them is not listed."""

    @abstractmethod
    def modification_times(self, prefix: str) -> dict[str, datetime]:
        """The time of the last write of each of `keys(prefix)`, by the store's own clock."""

    @abstractmethod
    def delete(self, prefix: str) -> None:
        """Removes all of `keys(prefix)`; does nothing if there are none."""

    def delete_unfinished(self, prefix: str, *, before: datetime) -> None:
        """Removes unfinished files below `prefix/`, which are no keys, if last written `before`.

        Killed writers leave them in folders, but not on S3, where only whole objects appear.
        """
        return

    @abstractmethod
    def arrow(self, key: str = "") -> tuple[pyarrow.fs.FileSystem, str]:
        """Arrow's file system, for Ray Data and Ray Train, and the path of `key` in it."""

    @abstractmethod
    def _upload_from(self, source: Readable, key: str) -> None:
        """Writes the content of a stream, as `write` does."""

    @abstractmethod
    def _download_to(self, sink: Writable, key: str) -> bool:
        """Writes the content into `sink`, each byte once; returns False if there is no such key."""

    def read(self, key: str) -> bytes:
        """The content; FileNotFoundError if there is no such key."""
        found = self.read_version(key)
        if found is None:
            raise FileNotFoundError(f"{self.uri}/{key}")
        return found[0]

    def create(self, key: str, data: bytes) -> bool:
        """Writes if there is no such key, and returns True; else returns False."""
        return self.replace(key, data, version=None) is not None

    def upload(self, source: Path, key: str) -> FileDigest:
        """Writes a file of any size, and returns the digest of the bytes that were read from it."""
        with os_errors(f"upload {source} to {self.uri}/{key}"), source.open("rb") as file:
            stream = HashingStream(file)
            self._upload_from(stream, key)
        return stream.digest

    def download(self, key: str, target: Path, *, sha256: str | None = None) -> None:
        """Replaces the file `target` by the content, whole, and only if it has that digest.

        Raises FileNotFoundError if there is no such key, UserError if the digest differs.
        """
        with os_errors(f"download {self.uri}/{key} to {target}"), unfinished_file(target) as file:
            stream = HashingStream(file)
            present = self._download_to(stream, key)
            if present and sha256 in (None, stream.digest.sha256):
                replace_by(target, file)
                return
        if not present:
            raise FileNotFoundError(f"{self.uri}/{key}")
        raise UserError(
            f"{self.uri}/{key}: found {stream.digest.size} bytes with SHA-256 "
            f"{stream.digest.sha256}, expected {sha256}"
        )

    def digest(self, key: str) -> FileDigest:
        """Size and digest of a file of any size; FileNotFoundError if there is no such key."""
        stream = HashingStream(None)
        with os_errors(f"read {self.uri}/{key}"):
            present = self._download_to(stream, key)
        if not present:
            raise FileNotFoundError(f"{self.uri}/{key}")
        return stream.digest


def check_key(key: str) -> str:
    """Returns the key itself; raises UserError if it is not a plain relative path."""
    if problem := key_problem(key):
        raise UserError(
            f"storage key {key!r}: {problem}, expected a relative path like 'runs/1/a.json'"
        )
    return key


def key_problem(key: str) -> str | None:
    """Returns what is wrong with a key, or None."""
    parts = key.split("/")
    if "" in parts or "." in parts or ".." in parts:
        return "found an empty part, '.' or '..'"
    if "\\" in key or not key.isprintable():
        return "found a backslash or a character that can't be printed"
    if any(part.startswith(RESERVED) for part in parts):
        return f"found a part that begins with {RESERVED!r}, which is reserved"
    return None


class HashingStream:
    """Passes bytes on from or to a file, or to nowhere, and hashes them.

    It can't seek, so that no byte is passed on twice.
    """

    def __init__(self, file: BinaryIO | None, *, start: bytes = b"") -> None:
        """Hashes `start` before all that is passed on."""
        self._file = file
        self._sha256 = hashlib.sha256(start)
        self._size = 0

    def read(self, size: int = -1, /) -> bytes:
        assert self._file is not None
        return self._hash(self._file.read(size))

    def write(self, data: bytes, /) -> int:
        if self._file is not None:
            self._file.write(data)
        return len(self._hash(data))

    def _hash(self, data: bytes) -> bytes:
        self._sha256.update(data)
        self._size += len(data)
        return data

    @property
    def digest(self) -> FileDigest:
        """Digest of the bytes that were passed on so far."""
        return FileDigest(size=self._size, sha256=self._sha256.hexdigest())
