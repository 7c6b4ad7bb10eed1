"""What both kinds of storage share: the interface, the rules of a key, and a content's digest."""

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from fmnist.errors import UserError
from fmnist.storage.atomic import draft, os_errors, put_in_place


class Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class Writable(Protocol):
    def write(self, data: bytes, /) -> int: ...


@dataclass(frozen=True, kw_only=True)
class Content:
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
        """What `open_storage` takes to find the same place again, without a slash at the end."""

    @abstractmethod
    def check(self, *, writable: bool, probe: bool = True) -> None:
        """Raises UserError where there is no such place, or no permission; leaves nothing there.

        Whether a store is fit to be written to may take a `probe`, which is written and removed.
        """

    @abstractmethod
    def read_version(self, key: str) -> tuple[bytes, str] | None:
        """The content and its version, which is a digest: equal contents have equal versions."""

    @abstractmethod
    def write(self, key: str, data: bytes) -> None:
        """Puts `data` in place at once: a reader sees the old content or the new one."""

    @abstractmethod
    def replace(self, key: str, data: bytes, *, version: str | None) -> str | None:
        """Writes if the content still has that version; None: if there is nothing yet.

        Of many that try at the same time one is told the new version; the others get None.
        """

    @abstractmethod
    def exists(self, key: str) -> bool: ...

    @abstractmethod
    def keys(self, prefix: str = "") -> list[str]:
        """The key `prefix` itself and all below `prefix/`, sorted; all there are without one."""

    @abstractmethod
    def modified(self, prefix: str) -> dict[str, datetime]:
        """What `keys(prefix)` lists, with the time of its last write by the store's own clock."""

    @abstractmethod
    def delete(self, prefix: str) -> None:
        """Removes what `keys(prefix)` lists; it is no mistake if there is nothing."""

    def delete_drafts(self, prefix: str, *, before: datetime) -> None:
        """Removes files below `prefix/` that a killed writer left, if not touched since `before`.

        They are no keys. A store where nothing appears before it is whole has none.
        """
        return

    @abstractmethod
    def arrow(self, key: str = "") -> tuple[Any, str]:
        """A `pyarrow.fs.FileSystem` and the path of `key` in it, for Ray Data and Train."""

    @abstractmethod
    def _send(self, source: Readable, key: str) -> None: ...

    @abstractmethod
    def _receive(self, key: str, sink: Writable) -> bool:
        """Writes the content into `sink` in order; False if there is no such key."""

    def read(self, key: str) -> bytes:
        """The content; FileNotFoundError if there is no such key."""
        found = self.read_version(key)
        if found is None:
            raise FileNotFoundError(f"{self.uri}/{key}")
        return found[0]

    def create(self, key: str, data: bytes) -> bool:
        """Writes only if there is no such key; False if there is."""
        return self.replace(key, data, version=None) is not None

    def upload(self, source: Path, key: str) -> Content:
        """Writes a file of any size, read once; what was read is what the answer describes."""
        with os_errors(f"upload {source} to {self.uri}/{key}"), source.open("rb") as file:
            passing = Passing(file)
            self._send(passing, key)
        return passing.content

    def download(self, key: str, target: Path, *, sha256: str | None = None) -> None:
        """Replaces `target` by the content at once, and only if it has that digest.

        Raises FileNotFoundError if there is no such key, UserError if the digest differs.
        """
        with os_errors(f"download {self.uri}/{key} to {target}"), draft(target) as file:
            passing = Passing(file)
            present = self._receive(key, passing)
            if present and sha256 in (None, passing.content.sha256):
                put_in_place(file, target)
                return
        if not present:
            raise FileNotFoundError(f"{self.uri}/{key}")
        raise UserError(
            f"{self.uri}/{key}: found {passing.content.size} bytes with SHA-256 "
            f"{passing.content.sha256}, expected {sha256}"
        )

    def content(self, key: str) -> Content:
        """Size and digest of a file of any size; FileNotFoundError if there is no such key."""
        passing = Passing(None)
        with os_errors(f"read {self.uri}/{key}"):
            present = self._receive(key, passing)
        if not present:
            raise FileNotFoundError(f"{self.uri}/{key}")
        return passing.content


class Passing:
    """Hashes the bytes that pass on their way from or to a file, or to nowhere.

    It can't seek, and so nothing that uses it passes a byte twice.
    """

    def __init__(self, file: BinaryIO | None) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        self._size = 0

    def read(self, size: int = -1, /) -> bytes:
        assert self._file is not None
        return self._seen(self._file.read(size))

    def write(self, data: bytes, /) -> int:
        if self._file is not None:
            self._file.write(data)
        return len(self._seen(data))

    def _seen(self, data: bytes) -> bytes:
        self._sha256.update(data)
        self._size += len(data)
        return data

    @property
    def content(self) -> Content:
        return Content(size=self._size, sha256=self._sha256.hexdigest())
