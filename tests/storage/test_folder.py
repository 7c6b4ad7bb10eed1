"""Errors of the operating system in a storage folder."""

import errno
import fcntl
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from fmnist.errors import UserError
from fmnist.storage.open import open_storage


def test_a_file_where_a_folder_is_expected(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match="file is a file, expected a folder"):
            open_storage(str(root))
    storage = open_storage(str(tmp_path))
    for write in (storage.write, storage.create):
        with pytest.raises(UserError, match=r"cannot write .*file/key"):
            write("file/key", b"")


def test_a_folder_that_is_only_read_must_be_there(tmp_path: Path) -> None:
    assert open_storage(str(tmp_path), writable=False).keys() == []
    with pytest.raises(UserError, match="there is no such folder"):
        open_storage(str(tmp_path / "none"), writable=False)


def test_a_folder_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Root may do everything, so the system's answer is the injected failure.
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    with pytest.raises(UserError, match=f"no permission to write to {tmp_path}"):
        open_storage(str(tmp_path / "results"))
    open_storage(str(tmp_path), writable=False)


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = open_storage(str(tmp_path / "results"))
    storage.write("key", b"old")
    (tmp_path / "source").write_bytes(b"new")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    actions: list[Callable[[], object]] = [
        lambda: storage.write("key", b"new"),
        lambda: storage.create("other", b"new"),
        lambda: storage.upload(tmp_path / "source", "key"),
        lambda: storage.download("key", tmp_path / "target"),
    ]
    for action in actions:
        with pytest.raises(UserError, match=r"cannot .*results.*: No space left on device"):
            action()
    assert storage.keys() == ["key"]
    assert storage.read("key") == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results", "source"]


def test_nobody_waits_for_the_disk_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer does not hold the lock while it writes data to the disk, which may take long."""
    storage = open_storage(str(tmp_path / "results"))
    storage.write("key", b"old")
    locks = []

    def locked(_: int) -> None:
        with (tmp_path / "results/.fmnist-lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            locks.append(file.name)

    monkeypatch.setattr(os, "fsync", locked)
    storage.write("key", b"new")
    found = storage.read_version("key")
    assert found and storage.replace("key", b"newer", version=found[1])
    assert storage.create("other", b"")
    (tmp_path / "source").write_bytes(b"newest")
    storage.upload(tmp_path / "source", "key")
    assert len(locks) == 8  # the file and its folder, four times
    assert storage.read("key") == b"newest"


def test_files_get_the_mode_of_the_umask(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    mask = os.umask(0o027)
    try:
        storage.write("written", b"")
        storage.create("created", b"")
    finally:
        os.umask(mask)
    for name in ("written", "created"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o640
