"""Files and folders that data sets are read from, locally, on S3 or at an HTTP server."""

import http.client
import re
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
from pyarrow import fs

from fmnist.errors import UserError
from fmnist.storage.s3_arrow import ArrowS3, endpoint
from fmnist.storage.uri import FolderUri, HttpUri, parse_uri

CHUNK = 1 << 20  # bytes asked for at once: on S3 each is a request
TIMEOUT = 10.0  # seconds for an HTTP server to answer

READ_ERRORS = (
    OSError,
    http.client.HTTPException,
    EOFError,
    zlib.error,
    pa.ArrowException,
    UnicodeDecodeError,  # Arrow, of a column's name
)


@dataclass(frozen=True, kw_only=True)
class Location:
    """A file or folder that is read. `uri` is as the user gave it and is shown in messages.

    `filesystem` is None at an HTTP base, where files can be opened but not listed.
    """

    uri: str
    filesystem: Any
    path: str

    def child(self, name: str) -> "Location":
        """The entry of that name in this folder."""
        return Location(
            uri=f"{self.uri.rstrip('/')}/{name}",
            filesystem=self.filesystem,
            path=f"{self.path.rstrip('/')}/{name}",
        )

    def is_file(self) -> bool:
        """Raises UserError where nothing is there."""
        with reading(self.uri):
            kind = self.filesystem.get_file_info(self.path).type
        if kind == fs.FileType.NotFound:
            raise UserError(f"{self.uri}: no such file or folder")
        return bool(kind == fs.FileType.File)

    def names(self) -> list[str]:
        """Names of the folder's entries, sorted; nothing if it does not exist."""
        return sorted(Path(info.path).name for info in self._list(recursive=False))

    def files(self) -> list[str]:
        """Paths in `filesystem` of all files below this folder, sorted."""
        infos = self._list(recursive=True)
        return sorted(info.path for info in infos if info.type == fs.FileType.File)

    def open(self, timeout: float = TIMEOUT) -> BinaryIO:
        """The file as a stream. Raises FileNotFoundError where it is absent."""
        if self.filesystem is None:
            return _open_http(self.path, timeout)
        # Arrow would otherwise guess the compression by the name and inflate without a bound.
        stream: BinaryIO = self.filesystem.open_input_stream(
            self.path, compression=None, buffer_size=CHUNK
        )
        return stream

    def _list(self, *, recursive: bool) -> list[Any]:
        selector = fs.FileSelector(self.path, recursive=recursive, allow_not_found=True)
        with reading(self.uri):
            infos: list[Any] = self.filesystem.get_file_info(selector)
            return infos


def locate(text: str) -> Location:
    """The location that a path or URI names. Raises UserError for a URI that is not understood."""
    place = parse_uri(text, http=True)
    if isinstance(place, FolderUri):
        return Location(uri=text, filesystem=fs.LocalFileSystem(), path=str(place.path))
    if isinstance(place, HttpUri):
        return Location(uri=text, filesystem=None, path=place.url)
    with reading(text):  # Amazon's buckets may be in any region
        region = None if endpoint() else fs.resolve_s3_region(place.bucket)
        path = f"{place.bucket}/{place.prefix}".rstrip("/")
        return Location(uri=text, filesystem=ArrowS3(region), path=path)


@contextmanager
def reading(where: str) -> Iterator[None]:
    """Turns what goes wrong while `where` is read into a UserError that names it."""
    try:
        yield
    except READ_ERRORS as error:
        raise UserError(f"{where}: {reason(error)}") from error


def reason(error: BaseException) -> str:
    """What went wrong, in one line, without hosts, request ids and credentials."""
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP status {error.code}"
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, OSError):
        return reason(error.reason)
    if isinstance(error, zlib.error):
        return f"its gzip data are corrupt ({error})"
    text = str(error)
    if found := re.search(r"AWS Error (\w+) during (\w+)", text):
        return f"S3 error {found[1]} in {found[2]}"
    if isinstance(error, FileNotFoundError):
        return "no such file or folder"
    if isinstance(error, PermissionError):
        return "no permission to read it"
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror
    first_line = next(iter(text.splitlines()), "") or type(error).__name__
    return re.sub(r"\S+://\S+", "a URI", first_line)


def _open_http(url: str, timeout: float) -> BinaryIO:
    try:
        stream: BinaryIO = urllib.request.urlopen(url, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code in (404, 410):
            raise FileNotFoundError(url) from error
        raise
    except ValueError as error:  # such as a host name with an empty part
        raise UserError(f"{url}: {error}") from error
    return stream
