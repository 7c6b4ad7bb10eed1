"""Finds or fetches the official Fashion-MNIST files, verifies them and keeps them in a cache."""

import contextlib
import hashlib
import logging
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from platformdirs import user_cache_path

from fmnist.data.formats.idx import inflated, read_at_most
from fmnist.data.locations import Location, locate
from fmnist.errors import UserError
from fmnist.storage.atomic import atomic_write
from fmnist.storage.errors import READ_ERRORS, explain

log = logging.getLogger(__name__)

PACKAGE = "dataset-fashion-mnist"
PACKAGE_FOLDER = "usr/share/datasets/fashion-mnist"  # where the package puts the files
ROOT = Path("/")  # of the installed packages
MIRRORS = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
)
MIRROR_TIMEOUT = 3.0  # seconds to connect, and then for each answer
PACKAGE_TIMEOUT = 180.0  # seconds for one command of the package manager


@dataclass(frozen=True, kw_only=True)
class OfficialFile:
    """Size and SHA-256 of the decompressed bytes: every mirror gzips them differently."""

    name: str
    size: int
    sha256: str


FILES = (
    OfficialFile(
        name="train-images-idx3-ubyte",
        size=47_040_016,
        sha256="c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    ),
    OfficialFile(
        name="train-labels-idx1-ubyte",
        size=60_008,
        sha256="bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ),
    OfficialFile(
        name="t10k-images-idx3-ubyte",
        size=7_840_016,
        sha256="5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    ),
    OfficialFile(
        name="t10k-labels-idx1-ubyte",
        size=10_008,
        sha256="0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
)

Files = dict[str, bytearray]


def default_cache() -> Path:
    """The user's cache folder of this program: on Linux `$XDG_CACHE_HOME/fmnist`.

    That is `~/.cache/fmnist` where the variable is not set.
    """
    return user_cache_path("fmnist")


def find_official(cache: Path) -> tuple[Files, str]:
    """The verified, decompressed files by name, and where they were found.

    Looks in the cache, the Debian package's folder, at the mirrors, and in the Debian package that
    `apt-get` fetches; what is fetched is kept in the cache. Raises UserError with every place's
    reason and the three remedies.
    """
    reasons = []
    for where, read in _places(cache):
        try:
            files = read()
        except UserError as error:
            reasons.append(str(error))
            if not isinstance(error, _UnavailableError):
                log.warning("%s", error)
            continue
        return files, where
    raise UserError(
        "Fashion-MNIST was found nowhere. Give its folder or URI with --data, install the Debian"
        f" package {PACKAGE}, or allow network access to a mirror. Looked at:"
        + "".join(f"\n  - {entry}" for entry in reasons)
    )


class _UnavailableError(UserError):
    """A place has no files or does not answer; not logged, since another place may have them."""


def _places(cache: Path) -> Iterator[tuple[str, Callable[[], Files]]]:
    yield f"cache {cache}", lambda: _read_cache(cache)
    package = str(ROOT / PACKAGE_FOLDER)
    yield f"Debian package in {package}", lambda: _read_all(locate(package), ".gz")
    for mirror in MIRRORS:
        yield f"mirror {mirror}", partial(_read_mirror, mirror, cache)
    yield f"Debian package {PACKAGE}", lambda: store_in_cache(_read_package(), cache)


def _read_all(base: Location, suffix: str) -> Files:
    return {file.name: _read_verified(base.child(file.name + suffix), file) for file in FILES}


def _read_verified(location: Location, file: OfficialFile) -> bytearray:
    """The decompressed bytes. Raises UserError naming the file and both digests if wrong."""
    try:
        stream = location.open(MIRROR_TIMEOUT)
    except READ_ERRORS as error:
        raise _UnavailableError(f"{location.uri}: {explain(error)}") from error
    with stream:
        data = read_at_most(inflated(stream, location.uri), file.size + 1, location.uri)
    found = hashlib.sha256(data).hexdigest()
    if found != file.sha256:
        size = f"over {file.size:,}" if len(data) > file.size else f"{len(data):,}"
        raise UserError(
            f"{location.uri}: decompressed, it has {size} bytes and SHA-256 {found},"
            f" expected {file.size:,} bytes and {file.sha256}"
        )
    return data


def _read_cache(cache: Path) -> Files:
    """The files in the cache; a wrong one is removed."""
    base, files = locate(str(cache)), {}
    for file in FILES:
        try:
            files[file.name] = _read_verified(base.child(file.name), file)
        except _UnavailableError:
            raise
        except UserError as error:
            with contextlib.suppress(OSError):
                (cache / file.name).unlink()
            raise UserError(f"{error}; it was removed from the cache") from error
    return files


def _read_mirror(mirror: str, cache: Path) -> Files:
    return store_in_cache(_read_all(locate(mirror), ".gz"), cache)


def store_in_cache(files: Files, cache: Path) -> Files:
    """Stores verified files decompressed, so that the next load only reads and verifies them."""
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)  # as the XDG specification asks
        for name, data in files.items():
            with atomic_write(cache / name) as file:
                file.write(data)
    except OSError as error:
        log.warning("Fashion-MNIST could not be kept in the cache %s: %s", cache, explain(error))
    return files


def _read_package() -> Files:
    """The files of the Debian package, fetched and unpacked without root."""
    with tempfile.TemporaryDirectory(prefix="fmnist-") as folder:
        try:
            _run(["apt-get", "-qq", "download", PACKAGE], folder)
        except _UnavailableError:
            # A fresh container has no package lists: fetch them to here, which needs no root.
            (Path(folder) / "lists").mkdir()
            private = [
                "-o",
                f"Dir::State::lists={folder}/lists",
                "-o",
                f"Dir::Cache={folder}/cache",
            ]
            private += ["-o", "APT::Sandbox::User=root", "-o", "Acquire::http::Timeout=10"]
            _run(["apt-get", "-qq", *private, "update"], folder)
            _run(["apt-get", "-qq", *private, "download", PACKAGE], folder)
        _run(["dpkg-deb", "-x", *map(str, Path(folder).glob(f"{PACKAGE}*.deb")), "."], folder)
        return _read_all(locate(f"{folder}/{PACKAGE_FOLDER}"), ".gz")


def _run(command: list[str], folder: str) -> None:
    what = f"Debian package {PACKAGE}: {command[0]}"
    try:
        subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=True, timeout=PACKAGE_TIMEOUT
        )
    except subprocess.CalledProcessError as error:
        message = re.search(r"^E: (.*)", error.stderr, re.MULTILINE)
        text = re.sub(r"\S+://\S+", "a URI", message[1]) if message else "no reason given"
        raise _UnavailableError(f"{what} failed: {text}") from error
    except subprocess.TimeoutExpired as error:
        raise _UnavailableError(f"{what} took over {PACKAGE_TIMEOUT:.0f} s") from error
    except OSError as error:
        raise _UnavailableError(f"{what}: {error.strerror}") from error
