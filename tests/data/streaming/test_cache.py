"""Shards on the local disk: decoded once, verified, within the limit, whoever dies meanwhile."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fmnist.data.streaming.cache import DIGEST_BYTES, CachedShard, ShardCache
from fmnist.errors import StorageError
from fmnist.storage.base import Writable

SIZE = 1000
FRESH = multiprocessing.get_context("spawn")


def content(key: str) -> bytes:
    return (key.encode() * SIZE)[:SIZE]


def read(cache: ShardCache, key: str, written: list[str] | None = None) -> bytes:
    """The pixels of a shard; `written` gets its key if it had to be written."""

    def write(sink: Writable) -> None:
        if written is not None:
            written.append(key)
        sink.write(content(key)[:300])
        sink.write(content(key)[300:])

    return pixels(cache.open(key, SIZE, write))


def pixels(shard: CachedShard) -> bytes:
    found = bytearray(SIZE)
    assert shard.read_into(memoryview(found), 0)
    return bytes(found)


def used(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def test_a_shard_is_written_once(tmp_path: Path) -> None:
    written: list[str] = []
    for _ in range(2):
        assert read(ShardCache(tmp_path, 1 << 20), "a", written) == content("a")
    assert written == ["a"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: b"",
        lambda data: data + b"x",
        lambda data: bytes([data[0] ^ 1]) + data[1:],
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    ],
    ids=["cut", "empty", "longer", "pixel", "digest"],
)
def test_a_damaged_file_is_found_and_replaced(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    cache, written = ShardCache(tmp_path, 1 << 20), list[str]()
    read(cache, "a", written)
    path = tmp_path / "a.raw"
    path.write_bytes(damage(path.read_bytes()))
    assert read(cache, "a", written) == content("a")
    assert written == ["a", "a"]
    assert read(cache, "a", written) == content("a") and len(written) == 2


def test_another_shards_file_is_not_taken_for_this_one(tmp_path: Path) -> None:
    cache = ShardCache(tmp_path, 1 << 20)
    read(cache, "a")
    (tmp_path / "a.raw").rename(tmp_path / "b.raw")
    assert read(cache, "b") == content("b")


def test_the_limit_holds_and_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    limit = 3 * (SIZE + DIGEST_BYTES)
    cache, written = ShardCache(tmp_path, limit), list[str]()
    for key in "abcadaefa":
        read(cache, key, written)
        assert used(tmp_path) <= limit
        time.sleep(0.01)  # so that the times of two files differ on every file system
    assert written == ["a", "b", "c", "d", "e", "f"]  # a was always among the last three


def test_an_evicted_file_can_be_read_to_its_end(tmp_path: Path) -> None:
    cache = ShardCache(tmp_path, SIZE + DIGEST_BYTES)
    read(cache, "a")
    shard = cache.open("a", SIZE, lambda _: None)
    read(cache, "b")
    assert not (tmp_path / "a.raw").exists()
    assert pixels(shard) == content("a")
    assert not shard.read_into(memoryview(bytearray(SIZE)), DIGEST_BYTES + 1)


def test_an_error_of_the_writer_leaves_nothing(tmp_path: Path) -> None:
    def fail(sink: Writable) -> None:
        sink.write(b"x")
        raise ValueError("no such shard")

    with pytest.raises(ValueError, match="no such shard"):
        ShardCache(tmp_path, 1 << 20).open("a", SIZE, fail)
    assert used(tmp_path) == 0
    assert read(ShardCache(tmp_path, 1 << 20), "a") == content("a")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot keep shards in .*file"):
        read(ShardCache(tmp_path / "file", 1 << 20), "a")


def _write_and_wait(folder: Path) -> None:
    def write(sink: Writable) -> None:
        sink.write(content("a"))
        (folder / "begun").touch()
        time.sleep(60)

    ShardCache(folder, 1 << 20).open("a", SIZE, write)


def test_what_a_killed_writer_left_is_overwritten_or_evicted(tmp_path: Path) -> None:
    cache = ShardCache(tmp_path, 2 * (SIZE + DIGEST_BYTES))
    for key in ("a", "b"):
        process = FRESH.Process(target=_write_and_wait, args=(tmp_path,))
        process.start()
        while not (tmp_path / "begun").exists():
            time.sleep(0.01)
        (tmp_path / "begun").unlink()
        assert process.pid
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert (tmp_path / "a.part").exists() and not (tmp_path / "a.raw").exists()
        assert read(cache, key) == content(key)
        if key == "a":
            (tmp_path / "a.raw").unlink()
    read(cache, "c")
    assert sorted(path.name for path in tmp_path.glob("*.*")) == [".lock", "b.raw", "c.raw"]


def _read_all(folder: Path, log: Path) -> None:
    cache, written = ShardCache(folder, 4 * (SIZE + DIGEST_BYTES)), list[str]()
    for turn in range(200):
        key = "abcdef"[turn % 6]
        assert read(cache, key, written) == content(key)
    log.write_text("".join(written))


def test_processes_that_read_and_evict_at_once_get_what_they_ask_for(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    processes = [
        FRESH.Process(target=_read_all, args=(tmp_path / "cache", tmp_path / f"log{number}"))
        for number in range(3)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert used(tmp_path / "cache") <= 4 * (SIZE + DIGEST_BYTES)
