import gzip
import hashlib
import logging
import os
import shutil
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest

from fmnist.data import official
from fmnist.data.official import FILES, default_cache, find_official
from fmnist.errors import UserError
from tests.support.servers.web import serving

MD5 = {  # as published
    "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
    "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
    "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
}
NAMES = sorted(MD5)
LABELS = "t10k-labels-idx1-ubyte"


@pytest.fixture(scope="session")
def real(fashion: object) -> dict[str, bytes]:
    """The official files as bytes."""
    return {name: bytes(data) for name, data in find_official(default_cache())[0].items()}


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Takes away package, mirrors and package manager. Returns an empty cache folder."""
    monkeypatch.setattr(official, "ROOT", tmp_path / "root")
    monkeypatch.setattr(official, "MIRRORS", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path / "cache"


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A real HTTP server: its address and the folder that it serves."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    with serving(folder) as address:
        yield address, folder


@lru_cache
def _zipped(data: bytes) -> bytes:
    return gzip.compress(data, 1)


def _fill(folder: Path, files: dict[str, bytes], *, zipped: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        if zipped:
            (folder / f"{name}.gz").write_bytes(_zipped(data))
        else:
            (folder / name).write_bytes(data)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_the_digests_are_those_of_the_published_files(real: dict[str, bytes]) -> None:
    assert {name: hashlib.md5(data).hexdigest() for name, data in real.items()} == MD5
    assert {file.name: file.size for file in FILES} == {n: len(data) for n, data in real.items()}


def test_the_cache_comes_first(nowhere: Path, real: dict[str, bytes]) -> None:
    _fill(nowhere, real, zipped=False)
    files, source = find_official(nowhere)
    assert files == real
    assert source == f"cache {nowhere}"


def test_an_installed_package_is_read_where_it_is(
    nowhere: Path, real: dict[str, bytes], tmp_path: Path
) -> None:
    folder = tmp_path / "root" / "usr/share/datasets/fashion-mnist"
    _fill(folder, real, zipped=True)
    files, source = find_official(nowhere)
    assert files == real
    assert source == f"Debian package in {folder}"
    assert not nowhere.exists()


def test_a_mirror_fills_the_cache_and_a_dead_one_is_passed_over(
    nowhere: Path,
    real: dict[str, bytes],
    mirror: tuple[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address, folder = mirror
    _fill(folder, real, zipped=True)
    monkeypatch.setattr(official, "MIRRORS", ("http://127.0.0.1:1/", address + "none/", address))
    files, source = find_official(nowhere)
    assert files == real
    assert source == f"mirror {address}"
    assert _names(nowhere) == NAMES
    assert find_official(nowhere)[1] == f"cache {nowhere}"


@pytest.mark.parametrize("damage", ["changed", "truncated", "longer", "cut gzip"])
def test_a_wrong_download_is_named_and_never_kept(
    nowhere: Path,
    real: dict[str, bytes],
    mirror: tuple[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    damage: str,
) -> None:
    address, folder = mirror
    right = real[LABELS]
    wrong = {"changed": right[:-1] + b"\xff", "truncated": right[:-1], "longer": right + b"\0"}
    _fill(folder, real | {LABELS: wrong.get(damage, right)}, zipped=True)
    if damage == "cut gzip":
        path = folder / f"{LABELS}.gz"
        path.write_bytes(path.read_bytes()[:-9])
    monkeypatch.setattr(official, "MIRRORS", (address,))
    with pytest.raises(UserError, match=f"{address}{LABELS}.gz: ") as caught:
        find_official(nowhere)
    assert _names(nowhere) == []
    if damage == "changed":
        assert "expected 10,008 bytes and 0402a96d92fd2663" in str(caught.value)
        assert "it has 10,008 bytes and SHA-256 " in str(caught.value)


def test_a_wrong_file_in_the_cache_is_named_removed_and_fetched_again(
    nowhere: Path,
    real: dict[str, bytes],
    mirror: tuple[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    _fill(nowhere, real | {LABELS: real[LABELS][:5000]}, zipped=False)
    with pytest.raises(UserError, match=f"{nowhere}/{LABELS}: .*removed from the cache"):
        find_official(nowhere)
    assert LABELS not in _names(nowhere)

    _fill(nowhere, {LABELS: real[LABELS][:5000]}, zipped=False)
    _fill(mirror[1], real, zipped=True)
    monkeypatch.setattr(official, "MIRRORS", (mirror[0],))
    with caplog.at_level(logging.WARNING):
        assert find_official(nowhere)[0] == real
    assert f"{nowhere}/{LABELS}: decompressed, it has 5,000 bytes and SHA-256" in caplog.text
    assert find_official(nowhere)[1] == f"cache {nowhere}"


def test_a_cache_that_cannot_be_written_does_no_harm(
    nowhere: Path,
    real: dict[str, bytes],
    mirror: tuple[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    _fill(mirror[1], real, zipped=True)
    monkeypatch.setattr(official, "MIRRORS", (mirror[0],))
    nowhere.write_text("a file in its place")
    assert find_official(nowhere)[0] == real
    assert "could not be kept in the cache" in caplog.text


def test_found_nowhere_says_where_it_looked_and_the_remedies(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(official, "MIRRORS", ("http://127.0.0.1:1/",))
    with pytest.raises(UserError) as caught:
        find_official(nowhere)
    message = str(caught.value)
    for remedy in ("--data", "install the Debian package dataset-fashion-mnist", "network access"):
        assert remedy in message
    for place in (str(nowhere), "/root/usr/share/", "http://127.0.0.1:1/", "apt-get: No such file"):
        assert place in message
    assert not nowhere.exists()


needs_apt = pytest.mark.skipif(not shutil.which("apt-get"), reason="needs Debian's apt-get")


@needs_apt
@pytest.mark.parametrize("lists", [True, False], ids=["lists", "no lists"])
def test_the_package_is_fetched_and_unpacked_into_the_cache(
    nowhere: Path,
    real: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    lists: bool,
) -> None:
    monkeypatch.setenv("PATH", os.defpath + ":/usr/sbin:/sbin")
    if not lists:  # as in a fresh container
        (tmp_path / "empty" / "partial").mkdir(parents=True)
        config = tmp_path / "apt.conf"
        config.write_text(f'Dir::State::lists "{tmp_path}/empty";\n')
        monkeypatch.setenv("APT_CONFIG", str(config))
    files, source = find_official(nowhere)
    assert files == real
    assert source == "Debian package dataset-fashion-mnist"
    assert _names(nowhere) == NAMES


def test_the_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert default_cache() == Path("/somewhere/fmnist")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert default_cache() == Path("/home/me/.cache/fmnist")
