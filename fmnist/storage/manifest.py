"""Publishes results, whole or not at all: the manifest, written last, makes files a result.

S3 can't rename a folder, and two jobs may publish the same id at once. So each attempt uploads
into a folder of its own, and the manifest says whose files count. The first manifest stays; only
that of a checkpoint is replaced by a newer one.
"""

import hashlib
import json
import platform
import re
import secrets
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib import metadata
from pathlib import Path

from fmnist.errors import UserError
from fmnist.storage.open import FileDigest, Storage, check_key
from fmnist.storage.records import JsonObject, check_fields, parse_fields

MANIFEST = "manifest.json"
ATTEMPT = re.compile("[0-9a-f]{8}")  # the name of an attempt's folder
PACKAGES = ("ray", "tensorflow", "keras", "numpy", "pandas", "pyarrow", "scikit-learn", "boto3")
FIELDS: dict[str, type] = {"kind": str, "id": str, "files": dict, "details": dict}
FILE_FIELDS: dict[str, type] = {"path": str, "size": int, "sha256": str}


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """A published file: its path below the result's prefix, size in bytes, SHA-256 in hex."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The parts of a result: `files` by name, and `details` about how it was made."""

    kind: str
    id: str
    files: dict[str, FileEntry]
    details: JsonObject

    def names_by_folder(self, prefix: str) -> dict[str, list[str]]:
        """Names of the files by the folders where they lie; `prefix` is the result's folder."""
        found: dict[str, list[str]] = {}
        for name, file in self.files.items():
            found.setdefault(f"{prefix}/{file.path}".removesuffix(f"/{name}"), []).append(name)
        return found


def publish(
    storage: Storage,
    prefix: str,
    folder: Path,
    *,
    kind: str,
    id: str,
    details: JsonObject,
    replace: bool = False,
) -> Manifest:
    """Uploads every file below `folder`, then the manifest; `files` has their names in `folder`.

    If there is a manifest at `prefix`, also if it was written meanwhile, it stays and is returned.
    With `replace`, the new one takes its place: a reader finds the old result or the new one whole.
    """
    _encode(details)  # raises ValueError for what is not JSON, before anything is uploaded
    if not replace and (found := read_manifest(storage, prefix)):
        return found
    attempt = secrets.token_hex(4)
    try:
        files = _upload(storage, folder, prefix, attempt)
    except BaseException as error:
        found = None
        with suppress(UserError):  # the first error is the one that the user should see
            storage.delete(f"{prefix}/{attempt}")
            if isinstance(error, UserError) and not replace:
                found = read_manifest(storage, prefix)
        if found:  # another job was first, and has removed these files meanwhile
            return found
        raise
    manifest = Manifest(kind=kind, id=id, files=files, details=details)
    if replace:
        _replace(storage, prefix, manifest)
        return manifest
    # If this fails, the manifest may be written nevertheless, so its files are not deleted.
    published = _commit(storage, prefix, manifest)
    if published.files != files:  # another job's manifest was first
        storage.delete(f"{prefix}/{attempt}")
    return published


def _upload(storage: Storage, folder: Path, prefix: str, attempt: str) -> dict[str, FileEntry]:
    files = {}
    for name in _files_below(folder):
        digest = storage.upload(folder / name, f"{prefix}/{attempt}/{name}")
        files[name] = _entry(f"{attempt}/{name}", digest)
    return files


def publish_keys(
    storage: Storage,
    prefix: str,
    names: Iterable[str],
    *,
    kind: str,
    id: str,
    details: JsonObject,
) -> Manifest:
    """Like `publish`, for files that are already in place at `prefix/name`; each is read once."""
    if found := read_manifest(storage, prefix):
        return found
    files = {name: _entry(name, storage.digest(f"{prefix}/{name}")) for name in sorted(names)}
    return _commit(storage, prefix, Manifest(kind=kind, id=id, files=files, details=details))


def read_manifest(storage: Storage, prefix: str) -> Manifest | None:
    """The manifest of a published result, or None; UserError if it is not a valid manifest."""
    key = f"{prefix}/{MANIFEST}"
    found = storage.read_version(key)
    return parse_manifest(found[0], f"{storage.uri}/{key}") if found else None


def fetch(storage: Storage, prefix: str, manifest: Manifest, name: str, target: Path) -> Path:
    """Downloads a published file to `target`, which stays as it was unless the digest is right.

    Raises UserError that names the file and both digests.
    """
    entry = manifest.files.get(name)
    if entry is None:
        known = ", ".join(manifest.files) or "none"
        raise UserError(f"{storage.uri}/{prefix} has no file {name!r}; its files: {known}")
    key = f"{prefix}/{entry.path}"
    try:
        storage.download(key, target, sha256=entry.sha256)
    except FileNotFoundError as error:
        message = f"{storage.uri}/{key}: found nothing, expected {entry.size} bytes of {name}"
        raise UserError(message) from error
    return target


def delete_other_attempts(storage: Storage, prefix: str) -> None:
    """Removes the files of all attempts to publish at `prefix`, but for those in the manifest.

    An attempt that is still uploading loses its files too, so call this only once no other attempt
    can become the result.
    """
    kept = _attempts_in(storage.read_version(f"{prefix}/{MANIFEST}"))
    names = [key.removeprefix(f"{prefix}/").split("/") for key in storage.keys(prefix)]
    attempts = {name[0] for name in names if len(name) > 1 and ATTEMPT.fullmatch(name[0])}
    for attempt in attempts - kept:
        storage.delete(f"{prefix}/{attempt}")


def delete_abandoned_attempts(storage: Storage, folder: str, *, before: datetime) -> None:
    """Removes the files of attempts to publish results at `folder/…` whose jobs are dead.

    No manifest refers to these files, and none was written since `before`. Where a manifest is
    damaged, nothing is removed.
    """
    times = storage.modification_times(folder)
    attempts: dict[str, dict[str, datetime]] = {}
    for key, time in times.items():
        name, *rest = key.removeprefix(f"{folder}/").split("/")
        if len(rest) > 1 and ATTEMPT.fullmatch(rest[0]):
            touched = attempts.setdefault(f"{folder}/{name}", {})
            touched[rest[0]] = max(time, touched.get(rest[0], time))
    for prefix, touched in attempts.items():
        published = f"{prefix}/{MANIFEST}" in times
        if published and len(touched) == 1:  # the manifest refers to it
            continue
        kept = _attempts_in(storage.read_version(f"{prefix}/{MANIFEST}"))
        for attempt, time in touched.items():
            if attempt not in kept and time < before and bool(kept) == published:
                storage.delete(f"{prefix}/{attempt}")


def content_id(*parts: object) -> str:
    """12 hexadecimal digits that follow from the parts, which are JSON, alone."""
    return hashlib.sha256(_encode(parts)).hexdigest()[:12]


def versions(*more: str) -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on, which are not imported."""
    found = {"python": platform.python_version()}
    for name in (*PACKAGES, *more):
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def parse_manifest(data: bytes, where: str) -> Manifest:
    """The manifest that these bytes are; UserError if they are none."""
    fields = parse_fields(data, FIELDS, where, "a manifest")
    check_key(fields["id"])
    for name, entry in fields["files"].items():
        check_fields(entry, FILE_FIELDS, f"{where}: file {name!r}")
        check_key(name)
        check_key(entry["path"])
    files = {name: FileEntry(**entry) for name, entry in fields["files"].items()}
    return Manifest(**fields | {"files": files})


def _entry(path: str, digest: FileDigest) -> FileEntry:
    return FileEntry(path=path, size=digest.size, sha256=digest.sha256)


def _files_below(folder: Path) -> list[str]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in paths)


def _encode(value: object) -> bytes:
    """Canonical JSON: equal values have equal bytes. ValueError for NaN, which is not JSON."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _replace(storage: Storage, prefix: str, manifest: Manifest) -> None:
    """Replaces the manifest, and then removes the files of the old one.

    The files of other attempts stay, since their manifest may be about to be written.
    """
    key, moved = f"{prefix}/{MANIFEST}", None
    while moved is None:
        found = storage.read_version(key)
        version = found[1] if found else None
        moved = storage.replace(key, _encode(asdict(manifest)), version=version)
    for attempt in _attempts_in(found):
        storage.delete(f"{prefix}/{attempt}")


def _attempts_in(found: tuple[bytes, str] | None) -> set[str]:
    """The attempts' folders that a manifest refers to; none if the manifest is damaged."""
    with suppress(UserError):
        files = parse_manifest(found[0], "").files if found else {}
        return {entry.path.partition("/")[0] for entry in files.values()}
    return set()


def _commit(storage: Storage, prefix: str, manifest: Manifest) -> Manifest:
    """Writes the manifest unless there is one, and returns the one that is there then."""
    storage.create(f"{prefix}/{MANIFEST}", _encode(asdict(manifest)))
    published = read_manifest(storage, prefix)
    if published is None:
        raise UserError(f"{storage.uri}/{prefix} was deleted while it was being published")
    return published
