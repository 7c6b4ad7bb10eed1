"""A result is published whole or not at all: its manifest, written last, makes it one.

S3 can't rename a folder, and two jobs may publish the same id at once. So each attempt uploads
into a folder of its own, and the manifest, of which the first stays, says which attempt counts.
Only of a checkpoint a newer one takes the place.
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
from typing import Any

from fmnist.errors import UserError
from fmnist.storage.open import Content, Storage, check_key
from fmnist.storage.records import check_fields, parse

MANIFEST = "manifest.json"
ATTEMPT = re.compile("[0-9a-f]{8}")  # its folder
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
    """What a result consists of: `files` by name, and `details` (JSON) on how it was made."""

    kind: str
    id: str
    files: dict[str, FileEntry]
    details: dict[str, Any]


def publish(
    storage: Storage,
    prefix: str,
    folder: Path,
    *,
    kind: str,
    id: str,
    details: dict[str, Any],
    newer: bool = False,
) -> Manifest:
    """Uploads every file below `folder`, then the manifest; `files` has their names in `folder`.

    If the id is published already, also if that happens meanwhile, that one stays and is returned.
    With `newer`, this one takes its place instead: whoever reads finds the one or the other whole.
    """
    _encode(details)  # what is not JSON is found before anything is uploaded
    if not newer and (found := read_manifest(storage, prefix)):
        return found
    attempt = secrets.token_hex(4)
    try:
        files = {
            name: _entry(
                f"{attempt}/{name}", storage.upload(folder / name, f"{prefix}/{attempt}/{name}")
            )
            for name in _files_below(folder)
        }
    except BaseException as error:
        found = None
        with suppress(UserError):  # the first error is the one to tell
            storage.delete(f"{prefix}/{attempt}")
            if isinstance(error, UserError) and not newer:
                found = read_manifest(storage, prefix)
        if found:  # somebody else was first, and has tidied up these files meanwhile
            return found
        raise
    manifest = Manifest(kind=kind, id=id, files=files, details=details)
    if newer:
        _replace(storage, prefix, manifest)
        return manifest
    published = _commit(storage, prefix, manifest)  # if it fails, it may be there nevertheless
    if published.files != files:  # somebody else's manifest was there first
        storage.delete(f"{prefix}/{attempt}")
    return published


def publish_keys(
    storage: Storage,
    prefix: str,
    names: Iterable[str],
    *,
    kind: str,
    id: str,
    details: dict[str, Any],
) -> Manifest:
    """Like `publish`, for files that are already in place at `prefix/name`; each is read once."""
    if found := read_manifest(storage, prefix):
        return found
    files = {name: _entry(name, storage.content(f"{prefix}/{name}")) for name in sorted(names)}
    return _commit(storage, prefix, Manifest(kind=kind, id=id, files=files, details=details))


def read_manifest(storage: Storage, prefix: str) -> Manifest | None:
    """The manifest of a published result, or None; UserError if it is none of ours."""
    key = f"{prefix}/{MANIFEST}"
    found = storage.read_version(key)
    return _parse(found[0], f"{storage.uri}/{key}") if found else None


def fetch(storage: Storage, prefix: str, manifest: Manifest, name: str, target: Path) -> Path:
    """Downloads a published file to `target`, which is left as it was unless the digest is right.

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


def tidy(storage: Storage, prefix: str) -> None:
    """Removes the files of all attempts to publish at `prefix` but those of the one that counts.

    One that is still at work loses its files too: this is for where none can count any more.
    """
    kept = _attempts(storage.read_version(f"{prefix}/{MANIFEST}"))
    names = [key.removeprefix(f"{prefix}/").split("/") for key in storage.keys(prefix)]
    attempts = {name[0] for name in names if len(name) > 1 and ATTEMPT.fullmatch(name[0])}
    for attempt in attempts - kept:
        storage.delete(f"{prefix}/{attempt}")


def remove_abandoned(storage: Storage, folder: str, *, before: datetime) -> None:
    """Removes attempts to publish something at `folder/…` that were given up.

    No manifest refers to them, and nobody has touched them since `before`. Where a manifest is
    damaged, nothing is removed.
    """
    times = storage.modified(folder)
    attempts: dict[str, dict[str, datetime]] = {}
    for key, time in times.items():
        name, *rest = key.removeprefix(f"{folder}/").split("/")
        if len(rest) > 1 and ATTEMPT.fullmatch(rest[0]):
            touched = attempts.setdefault(f"{folder}/{name}", {})
            touched[rest[0]] = max(time, touched.get(rest[0], time))
    for prefix, touched in attempts.items():
        published = f"{prefix}/{MANIFEST}" in times
        if published and len(touched) == 1:  # so it is the one that counts
            continue
        kept = _attempts(storage.read_version(f"{prefix}/{MANIFEST}"))
        for attempt, time in touched.items():
            if attempt not in kept and time < before and bool(kept) == published:
                storage.delete(f"{prefix}/{attempt}")


def content_id(*parts: Any) -> str:
    """12 hexadecimal digits that follow from the parts (JSON) alone."""
    return hashlib.sha256(_encode(parts)).hexdigest()[:12]


def versions() -> dict[str, str]:
    """The versions of Python and of what a result depends on, without importing any of it."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _parse(data: bytes, where: str) -> Manifest:
    fields = parse(data, where, "a manifest")
    check_fields(fields, FIELDS, where)
    check_key(fields["id"])
    for name, entry in fields["files"].items():
        check_fields(entry, FILE_FIELDS, f"{where}: file {name!r}")
        check_key(name)
        check_key(entry["path"])
    files = {name: FileEntry(**entry) for name, entry in fields["files"].items()}
    return Manifest(**fields | {"files": files})


def _entry(path: str, content: Content) -> FileEntry:
    return FileEntry(path=path, size=content.size, sha256=content.sha256)


def _files_below(folder: Path) -> list[str]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in paths)


def _encode(value: Any) -> bytes:
    """Canonical JSON: equal values have equal bytes. ValueError for NaN, which JSON has not."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _replace(storage: Storage, prefix: str, manifest: Manifest) -> None:
    """Puts the manifest in place of the one that is there, and then removes the files of that one.

    Other attempts are left alone, since their manifest may be about to come.
    """
    key, moved = f"{prefix}/{MANIFEST}", None
    while moved is None:
        found = storage.read_version(key)
        version = found[1] if found else None
        moved = storage.replace(key, _encode(asdict(manifest)), version=version)
    for attempt in _attempts(found):
        storage.delete(f"{prefix}/{attempt}")


def _attempts(found: tuple[bytes, str] | None) -> set[str]:
    """The folders that a manifest refers to; none where it is damaged."""
    with suppress(UserError):
        files = _parse(found[0], "").files if found else {}
        return {entry.path.partition("/")[0] for entry in files.values()}
    return set()


def _commit(storage: Storage, prefix: str, manifest: Manifest) -> Manifest:
    storage.create(f"{prefix}/{MANIFEST}", _encode(asdict(manifest)))
    published = read_manifest(storage, prefix)
    if published is None:
        raise UserError(f"{storage.uri}/{prefix} was deleted while it was being published")
    return published
