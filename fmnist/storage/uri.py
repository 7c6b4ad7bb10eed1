"""Grammar of the places that users name (`--storage`, `--data`).

Credentials and endpoints come from the environment only. A message never repeats a URI that may
hold secrets, only its scheme.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from fmnist.errors import UserError
from fmnist.storage.base import key_problem

SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://?")
WRITABLE = ("file://", "s3://")
READABLE = (*WRITABLE, "http://", "https://")
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


@dataclass(frozen=True, kw_only=True)
class FolderUri:
    """An absolute path of a local file or folder."""

    path: Path


@dataclass(frozen=True, kw_only=True)
class S3Uri:
    """A bucket, and the prefix of keys in it: without slashes at its ends, or empty."""

    bucket: str
    prefix: str


@dataclass(frozen=True, kw_only=True)
class HttpUri:
    """The address of a file, or of a folder whose files have known names."""

    url: str


Uri = FolderUri | S3Uri | HttpUri


def parse_uri(text: str, *, http: bool = False) -> Uri:
    """The place that a path, file:/path, file:///path or s3://bucket/prefix names.

    With `http`, http:// and https:// are places too. Schemes may be in any case; the `~` of a path
    and the percent signs of a file: URI are expanded; keys of S3 are taken as they stand. Raises
    UserError for anything else, and for a URI with credentials, a query or a fragment.
    """
    expected = f"expected a path or {', '.join(READABLE if http else WRITABLE)}"
    if not text or not text.isprintable():
        problem = "has a character that can't be printed" if text else "is empty"
        raise UserError(f"{text!r} {problem}, {expected}")
    scheme = SCHEME.match(text)
    if scheme is None:
        return FolderUri(path=_expanded(text))
    shown = f"{scheme[0]}…"
    rest = text[len(scheme[1]) + 1 :]
    has_authority = rest.startswith("//")
    authority, slash, path = rest[2:].partition("/") if has_authority else ("", "/", rest[1:])
    name = scheme[1].lower()
    if f"{name}://" not in (READABLE if http else WRITABLE):
        use = "read from" if http else "keep results in"
        raise UserError(f"{shown} is not a place to {use}: {expected}")
    if "@" in authority or "?" in rest or "#" in rest or (name == "s3" and ":" in authority):
        raise UserError(
            f"{shown}: expected a URI without user, password, query and fragment"
            " (credentials and the endpoint are taken from the environment)"
        )
    if name == "file":
        return FolderUri(path=_file(authority, slash + path, shown))
    if name == "s3":
        return _bucket(rest, authority, path, shown)
    return HttpUri(url=_checked_url(text, shown))


def _expanded(text: str) -> Path:
    try:
        path = str(Path(text).expanduser().absolute())
    except RuntimeError as error:  # ~nobody
        raise UserError(f"{text}: there is no such user or home folder") from error
    return Path(f"/{path.lstrip('/')}")  # Path keeps two slashes, in which Ray sees a host


def _file(host: str, path: str, shown: str) -> Path:
    if host not in ("", "localhost") or path.startswith("//"):
        raise UserError(f"{shown} names another machine, expected a path or file:///path")
    decoded = unquote(path)
    if not path or not decoded.isprintable():
        problem = "has a character that can't be printed" if path else "names no folder"
        raise UserError(f"{shown} {problem}, expected a path or file:///path")
    return Path(decoded)


def _bucket(rest: str, bucket: str, path: str, shown: str) -> S3Uri:
    if not rest.startswith("//") or not bucket:
        raise UserError(f"{shown}: names no bucket, expected s3://bucket/prefix")
    if not BUCKET.fullmatch(bucket):
        raise UserError(f"{shown}: {bucket!r} names no bucket, expected s3://bucket/prefix")
    prefix = path.rstrip("/")
    if prefix and (problem := key_problem(prefix)):
        raise UserError(f"{shown}: {problem} in the prefix, expected s3://bucket/prefix")
    return S3Uri(bucket=bucket, prefix=prefix)


def _checked_url(text: str, shown: str) -> str:
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises if it is not a number
    except ValueError as error:
        raise UserError(f"{shown} is not a valid URI") from error
    if not parts.hostname:
        raise UserError(f"{shown} is not a valid URI: it names no host")
    return text
