"""Files and folders that data sets are read from, locally, on S3 or at an HTTP server."""

import logging
import time
import urllib.error
import urllib.request
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

from pyarrow import fs

from fmnist.errors import UserError
from fmnist.storage.errors import read_errors
from fmnist.storage.s3_arrow import ArrowS3, endpoint
from fmnist.storage.uri import FolderUri, HttpUri, parse_uri

OFFICIAL = "auto"  # in place of a path or URI: the official Fashion-MNIST
CHUNK = 1 << 20  # bytes asked for at once: on S3 each is a request
TIMEOUT = 10.0  # seconds for an HTTP server to answer
PARALLEL_LISTS = 16  # folders that are listed at the same time
SHOW_INTERVAL = 5.0  # seconds between the lines that tell of a long listing

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Location:
    """A file or folder that is read. `uri` is as the user gave it, for messages.

    `filesystem` is None at an HTTP server, where files can be opened but not listed; `path` is then
    the URL. `listed` are the folders that need not be listed again; None to list always.
    """

    uri: str
    filesystem: fs.FileSystem | None
    path: str
    listed: dict[tuple[str, bool], list[Any]] | None = field(default=None, compare=False)

    def child(self, name: str) -> "Location":
        """The entry of that name in this folder."""
        uri, path = f"{self.uri.rstrip('/')}/{name}", f"{self.path.rstrip('/')}/{name}"
        return replace(self, uri=uri, path=path)

    def listed_once(self) -> "Location":
        """The same place, of which each folder is listed when it is first asked for, and kept.

        To list a million files takes seconds, on S3 a minute.
        """
        return replace(self, listed={})

    def listed_anew(self) -> "Location":
        """The same place as it is whenever it is asked for."""
        return replace(self, listed=None)

    def is_file(self) -> bool:
        """Returns False for a folder. Raises UserError where nothing is there."""
        kind = self._get_info(self.path).type
        if kind == fs.FileType.NotFound:
            raise UserError(f"{self.uri}: no such file or folder")
        return bool(kind == fs.FileType.File)

    def names(self) -> set[str]:
        """Names of the folder's entries; none if there is no such folder."""
        return {info.base_name for info in self._list(recursive=False)}

    def files(self) -> list[str]:
        """Paths in `filesystem` of all files below this folder, sorted."""
        return sorted(info.path for info in self.infos() if is_file(info))

    def infos(self) -> list[fs.FileInfo]:
        """Arrow's description of each file and folder below this folder, in no order.

        The folders of two levels, which are those of parts and classes where there are many files,
        are listed in parallel: a request to S3 lists a thousand files.
        """
        found, shown = self._list(recursive=False), time.monotonic()
        with ThreadPoolExecutor(PARALLEL_LISTS) as pool:
            waiting = {
                pool.submit(self._list, info.path, recursive=False)
                for info in found
                if _is_folder(info)
            }
            deeper = set(waiting)
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for each in done:
                    infos = each.result()
                    found += infos
                    if each in deeper:
                        waiting |= {
                            pool.submit(self._list, info.path, recursive=True)
                            for info in infos
                            if _is_folder(info)
                        }
                if time.monotonic() - shown > SHOW_INTERVAL:
                    shown = time.monotonic()
                    log.warning(f"listing {self.uri}: {len(found):,} files and folders so far")
        return found

    def open(self, timeout: float = TIMEOUT) -> BinaryIO:
        """The file as a stream. Raises FileNotFoundError where it is absent."""
        if self.filesystem is None:
            return _open_http(self.path, timeout)
        # Arrow would otherwise guess the compression by the name and inflate without a bound.
        stream: BinaryIO = self.filesystem.open_input_stream(
            self.path, compression=None, buffer_size=CHUNK
        )
        return stream

    def _list(self, path: str | None = None, *, recursive: bool) -> list[Any]:
        folder = path or self.path
        kept = {} if self.listed is None else self.listed
        flat = kept.get((folder, False))
        if flat is not None and not any(map(_is_folder, flat)):
            recursive = False  # there is nothing deeper
        if (folder, recursive) not in kept:
            selector = fs.FileSelector(folder, recursive=recursive, allow_not_found=True)
            kept[folder, recursive] = self._get_info(selector)
            self._check_names(kept[folder, recursive])
        return list(kept[folder, recursive])

    def _check_names(self, infos: list[Any]) -> None:
        try:
            for info in infos:
                _ = info.path  # which Arrow decodes only now
        except UnicodeDecodeError as error:
            raise UserError(
                f"{self.uri}: the name {error.object!r} is not in UTF-8, expected names that are"
            ) from None

    def _get_info(self, paths: Any) -> Any:
        assert self.filesystem is not None, "an HTTP server does not list its files"
        with read_errors(self.uri):
            return self.filesystem.get_file_info(paths)


def is_file(info: fs.FileInfo) -> bool:
    """Returns False for a folder, and for what is neither; quicker than a look at the type."""
    return info.size is not None


def _is_folder(info: fs.FileInfo) -> bool:
    return not is_file(info) and bool(info.type == fs.FileType.Directory)


def locate(text: str | Location) -> Location:
    """The location that a path or URI (see `parse_uri`) names. Raises UserError for any other."""
    if isinstance(text, Location):
        return text
    place = parse_uri(text, http=True)
    if isinstance(place, FolderUri):
        return Location(uri=text, filesystem=fs.LocalFileSystem(), path=str(place.path))
    if isinstance(place, HttpUri):
        return Location(uri=text, filesystem=None, path=place.url)
    with read_errors(text):  # Amazon's buckets may be in any region
        region = None if endpoint() else fs.resolve_s3_region(place.bucket)
        path = f"{place.bucket}/{place.prefix}".rstrip("/")
        return Location(uri=text, filesystem=ArrowS3(region), path=path)


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
