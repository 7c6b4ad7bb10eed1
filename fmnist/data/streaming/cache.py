"""Raw pixels of shards on the disk of a node, shared by all its processes.

A shard is decoded once on a node, into a file `<key>.raw`: its pixels, then the SHA-256 of the key
and the pixels, which is verified whenever a process opens the file. While it is written it is
`<key>.part`, locked by its writer; what a killed writer has left is locked by nobody, and is
overwritten or evicted like any other file. The file that was opened least recently goes first.
"""

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from platformdirs import user_cache_path

from fmnist.storage.base import HashingStream, Writable
from fmnist.storage.errors import os_errors

FOLDER = "FMNIST_SHARD_CACHE"  # variable with the cache's folder, if it is not the user's cache
RAW, PART, LOCK = ".raw", ".part", ".lock"
CHUNK = 1 << 20  # bytes that are hashed at once
DIGEST_BYTES = 32


def default_folder() -> Path:
    """The folder of this node's cache: `$FMNIST_SHARD_CACHE`, or else below the user's cache."""
    given = os.environ.get(FOLDER)
    return Path(given) if given else user_cache_path("fmnist") / "shards"


class CachedShard:
    """An open file that begins with the pixels of a shard; closed when nobody refers to it."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)

    def read_into(self, buffer: memoryview, start: int) -> bool:
        """Reads from that byte on; returns False if there are too few to fill the buffer."""
        return os.preadv(self.descriptor, [buffer], start) == buffer.nbytes


class ShardCache:
    """A folder with at most `most` bytes, if that is enough for the shards that are being written.

    A file that another process removes can be read to its end by whoever has it open.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self._folder, self._most = folder, most

    @property
    def folder(self) -> Path:
        """Where the files are, and where there is room for temporary ones."""
        return self._folder

    def open(self, key: str, size: int, write: Callable[[Writable], None]) -> CachedShard:
        """The `size` bytes of pixels of the shard that is called `key`.

        `write` writes them, where no process of the node has done so yet or the file is damaged.
        Raises UserError if the disk is full, and whatever `write` raises.
        """
        target = self._folder / f"{key}{RAW}"
        with os_errors(f"keep shards in {self._folder}"):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            while True:
                if found := _open_whole(target, key, size):
                    return found
                with self._locked_part(key) as part:
                    if part is None:  # another process has finished it, or evicted what was left
                        continue
                    if found := _open_whole(target, key, size):
                        return found
                    return self._fill(part, target, key, size, write)

    def _fill(
        self, part: BinaryIO, target: Path, key: str, size: int, write: Callable[[Writable], None]
    ) -> CachedShard:
        path = target.with_suffix(PART)
        try:
            self._reserve(part, path, size + DIGEST_BYTES)
            stream = HashingStream(part, start=key.encode())
            write(stream)
            part.write(bytes.fromhex(stream.digest.sha256))
            part.flush()
            assert part.tell() == size + DIGEST_BYTES, "the footer says how many rows there are"
            shard = CachedShard(path)  # before it has a name by which it could be evicted
            path.rename(target)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return shard

    def _reserve(self, part: BinaryIO, path: Path, size: int) -> None:
        """Evicts what is in the way of `size` more bytes, and gives the unfinished file that size.

        So all writers together stay within the limit.
        """
        with (self._folder / LOCK).open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            files = [each for each in self._files() if each[2] != path]
            total = sum(each[1] for each in files) + size
            for _, freed, other in sorted(files):
                if total <= self._most:
                    break
                total -= freed if _evict(other) else 0
            part.truncate(size)

    def _files(self) -> Iterator[tuple[int, int, Path]]:
        """Yields time of use, size and path of each file."""
        for path in self._folder.iterdir():
            if path.suffix in (RAW, PART):
                with suppress(FileNotFoundError):  # its writer has just renamed or removed it
                    status = path.stat()
                    yield status.st_mtime_ns, status.st_size, path

    @contextmanager
    def _locked_part(self, key: str) -> Iterator[BinaryIO | None]:
        """Yields the unfinished file of a shard, alone; None if it is no longer the one there."""
        path = self._folder / f"{key}{PART}"
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file if _is_at(file, path) else None


def _open_whole(path: Path, key: str, size: int) -> CachedShard | None:
    """Opens a file whose size and digest are right, and marks it as used; None for any other."""
    try:
        shard = CachedShard(path)
    except FileNotFoundError:
        return None
    if os.fstat(shard.descriptor).st_size != size + DIGEST_BYTES:
        return None
    digest, start = hashlib.sha256(key.encode()), 0
    while start < size and (data := os.pread(shard.descriptor, min(CHUNK, size - start), start)):
        digest.update(data)
        start += len(data)
    if os.pread(shard.descriptor, DIGEST_BYTES, start) != digest.digest():
        return None
    os.utime(shard.descriptor)
    return shard


def _is_at(file: BinaryIO, path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False


def _evict(path: Path) -> bool:
    """Removes a file and returns True; returns False for one that is being written."""
    if path.suffix == RAW:
        path.unlink(missing_ok=True)
        return True
    with suppress(FileNotFoundError), path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if _is_at(file, path):
            path.unlink()
    return True
