"""Storage: the same behaviour in a folder and in a bucket."""

import os
import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from fmnist.errors import UserError
from fmnist.storage.open import Storage, open_storage
from tests.support.servers.s3 import SECRET

BAD_KEYS = [
    "", "/", "/etc/passwd", "..", "../a", "a/../../b", "a/..", "./a", "a/.", "a//b", "a/",
    "a\\b", "a\nb", "a\0b", "a\x7f", "a\u202eb", ".fmnist-lock", "a/.fmnist-0",
]  # fmt: skip


@pytest.fixture
def storage(storage_uri: str) -> Storage:
    return open_storage(storage_uri)


def test_what_is_written_is_read(storage: Storage) -> None:
    storage.write("runs/a b+c%20é/x.json", b"one")
    storage.write("runs/a b+c%20é/x.json", b"two")
    storage.write("empty", b"")
    assert storage.read("runs/a b+c%20é/x.json") == b"two"
    assert storage.read("empty") == b""
    assert open_storage(storage.uri).keys() == ["empty", "runs/a b+c%20é/x.json"]


def test_what_is_absent(storage: Storage, tmp_path: Path) -> None:
    storage.write("a", b"")
    storage.write("folder/b", b"")
    for key in ("nothing", "a/below-a-file", "folder"):
        assert storage.read_version(key) is None
        with pytest.raises(FileNotFoundError):
            storage.read(key)
        with pytest.raises(FileNotFoundError):
            storage.download(key, tmp_path / "target")
        with pytest.raises(FileNotFoundError):
            storage.digest(key)
    assert list(tmp_path.glob("*target*")) == []
    assert storage.read_version("a") is not None


def test_folders_are_those_in_the_prefix_alone(storage: Storage) -> None:
    assert storage.folders("runs") == []
    for key in ("runs/b/x/1", "runs/b/y/2", "runs/a/1", "runs/file", "runs-of-others/c/1"):
        storage.write(key, b"")
    assert storage.folders("runs") == ["a", "b"]
    assert storage.folders("runs/b") == ["x", "y"]
    assert storage.folders("runs/file") == storage.folders("none") == []


def test_keys_are_sorted_and_below_the_prefix(storage: Storage) -> None:
    assert storage.keys() == []
    for key in ("a/c/2", "a/b", "a-b/1", "a.b", "ab", "a/c/1", "z"):
        storage.write(key, b"")
    assert storage.keys() == ["a-b/1", "a.b", "a/b", "a/c/1", "a/c/2", "ab", "z"]
    assert storage.keys("a") == ["a/b", "a/c/1", "a/c/2"]
    assert storage.keys("z") == ["z"]
    assert storage.keys("none") == []


def test_modified_tells_when_each_key_was_written(storage: Storage) -> None:
    before = datetime.now(UTC) - timedelta(seconds=2)  # S3 has whole seconds
    for key in ("a/c/2", "a/b", "ab"):
        storage.write(key, b"")
    times = storage.modification_times("a")
    assert sorted(times) == storage.keys("a") == ["a/b", "a/c/2"]
    assert all(before < time < before + timedelta(minutes=5) for time in times.values())
    assert storage.modification_times("none") == {}


def test_delete_removes_a_key_or_what_is_below_it(storage: Storage) -> None:
    for key in ("a/c/2", "a/b", "ab", "z"):
        storage.write(key, b"")
    storage.delete("none")
    storage.delete("z")
    storage.delete("a")
    assert storage.keys() == ["ab"]
    with pytest.raises(UserError):
        storage.delete("")


def test_delete_of_more_keys_than_one_request_takes(
    s3_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fmnist.storage.s3.DELETED_AT_ONCE", 3)
    storage = open_storage(s3_uri)
    for number in range(7):
        storage.write(f"many/{number}", b"")
    storage.delete("many")
    assert storage.keys() == []


def test_keys_that_could_leave_the_root_are_refused(storage: Storage, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"")
    uses: list[Callable[[str], object]] = [
        storage.read,
        storage.read_version,
        storage.delete,
        storage.digest,
        lambda key: storage.write(key, b""),
        lambda key: storage.create(key, b""),
        lambda key: storage.replace(key, b"", version="0"),
        lambda key: storage.upload(source, key),
        lambda key: storage.download(key, tmp_path / "target"),
        lambda key: storage.keys(key or ".."),
        lambda key: storage.modification_times(key or ".."),
        lambda key: storage.arrow(key or ".."),
    ]
    for key in BAD_KEYS:
        for use in uses:
            with pytest.raises(UserError, match="storage key"):
                use(key)
    assert storage.keys() == []


def test_create_does_not_replace(storage: Storage) -> None:
    assert storage.create("key", b"first")
    assert not storage.create("key", b"second")
    assert storage.read("key") == b"first"


def test_replace_needs_the_version_that_is_there(storage: Storage) -> None:
    assert not storage.replace("key", b"x", version="0" * 64)
    assert storage.replace("key", b"one", version=None) == storage.read_version("key")[1]
    assert not storage.replace("key", b"x", version=None)
    data, version = storage.read_version("key") or (b"", "")
    assert data == b"one"
    assert storage.replace("key", b"two", version=version) == storage.read_version("key")[1]
    assert not storage.replace("key", b"three", version=version)
    assert storage.read("key") == b"two"


def test_a_large_file_goes_and_comes_back(storage: Storage, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "deep" / "target"
    source.write_bytes(os.urandom(1 << 20) * 20)  # S3: several parts, each way
    sent = storage.upload(source, "large")
    assert sent.size == 20 << 20
    assert storage.digest("large") == sent
    storage.download("large", target, sha256=sent.sha256)
    assert target.read_bytes() == source.read_bytes()


def test_a_download_with_another_digest_leaves_the_target(storage: Storage, tmp_path: Path) -> None:
    storage.write("key", b"found")
    target = tmp_path / "downloads" / "target"
    target.parent.mkdir()
    target.write_bytes(b"old")
    with pytest.raises(UserError, match=f"key: found 5 bytes .*, expected {'0' * 64}"):
        storage.download("key", target, sha256="0" * 64)
    assert [path.name for path in target.parent.iterdir()] == ["target"]
    assert target.read_bytes() == b"old"


def test_arrow_writes_where_storage_reads(storage: Storage, tmp_path: Path) -> None:
    table = pyarrow.table({"id": [1, 2, 3]})
    system, path = storage.arrow("predictions/part.parquet")
    system.create_dir(path.rpartition("/")[0], recursive=True)
    pyarrow.parquet.write_table(table, path, filesystem=system)
    assert storage.keys() == ["predictions/part.parquet"]
    storage.download("predictions/part.parquet", tmp_path / "copy")
    assert pyarrow.parquet.read_table(tmp_path / "copy") == table
    system, root = pickle.loads(pickle.dumps(storage.arrow()))
    path = f"{root}/predictions/part.parquet"
    assert pyarrow.parquet.read_table(path, filesystem=system) == table
    storage.delete("predictions")
    assert storage.keys() == []


def test_it_travels_to_workers(storage: Storage) -> None:
    storage.write("key", b"here")  # a client is in use
    copy = pickle.loads(pickle.dumps(storage))
    assert copy == storage
    assert copy.read("key") == b"here"
    assert SECRET.encode() not in pickle.dumps(storage)


def test_opening_writes_nothing(storage_uri: str, tmp_path: Path) -> None:
    assert open_storage(storage_uri).keys() == []
    assert list(tmp_path.iterdir()) == []
