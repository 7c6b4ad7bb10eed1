"""Where results live: one URI, a local folder or `s3://bucket/prefix`."""

import re
from pathlib import Path
from urllib.parse import unquote

from fmnist.errors import UserError
from fmnist.storage.base import Content, Storage, check_key
from fmnist.storage.folder import LocalStorage
from fmnist.storage.s3 import S3Storage

__all__ = ["Content", "LocalStorage", "S3Storage", "Storage", "check_key", "open_storage"]

SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/")
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
EXPECTED = "expected a folder, file:///folder or s3://bucket/prefix"


def open_storage(uri: str, *, writable: bool = True, probe: bool = True) -> Storage:
    """The storage at `results`, `/results`, `file:///results` or `s3://bucket/prefix`.

    Raises UserError for any other URI, and where there is no such bucket or no permission; asked
    for at once, and without leaving anything. A folder that is not there is made by the first
    write, and is a mistake only if `writable` is False. Without `probe` nothing is written, not
    even to try it out: whether a bucket may be written to then shows at the first write.
    """
    if not uri or not uri.isprintable():
        raise UserError(f"storage URI {uri!r} is empty or can't be printed: {EXPECTED}")
    scheme = SCHEME.match(uri)
    storage: Storage
    if scheme is None:
        storage = LocalStorage(root=Path(uri).absolute())
    elif scheme[1].lower() == "file":
        storage = LocalStorage(root=_folder(uri[len("file:") :]))
    elif scheme[1].lower() == "s3":
        storage = _bucket(uri[len("s3:") :])
    else:  # the rest of the URI is not repeated, since it may hold a password
        raise UserError(f"storage URI begins with {scheme[0]!r}: {EXPECTED}")
    storage.check(writable=writable, probe=probe)
    return storage


def _folder(rest: str) -> Path:
    path = re.sub("^//(localhost)?(?=/)", "", rest)
    if path.startswith("//"):
        raise UserError(f"storage URI 'file:{rest}' names another machine: {EXPECTED}")
    folder = unquote(path)
    if not folder.isprintable():
        raise UserError(f"storage URI 'file:{rest}' can't be printed once decoded: {EXPECTED}")
    return Path(folder)


def _bucket(rest: str) -> S3Storage:
    bucket, _, prefix = rest.removeprefix("//").partition("/")
    if any(sign in bucket for sign in "@:") or "?" in rest:
        raise UserError(
            "storage URI holds credentials or options, which belong into the environment "
            f"(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL): {EXPECTED}"
        )
    if not rest.startswith("//") or not BUCKET.fullmatch(bucket):
        raise UserError(f"storage URI 's3:{rest}' does not name a bucket: {EXPECTED}")
    prefix = prefix.rstrip("/")
    return S3Storage(bucket=bucket, prefix=check_key(prefix) if prefix else "")
