"""Opens the storage of results: a local folder or `s3://bucket/prefix`."""

from fmnist.storage.base import FileDigest, Storage, check_key
from fmnist.storage.folder import LocalStorage
from fmnist.storage.s3 import S3Storage
from fmnist.storage.uri import FolderUri, S3Uri, parse_uri

__all__ = ["FileDigest", "LocalStorage", "S3Storage", "Storage", "check_key", "open_storage"]


def open_storage(uri: str, *, writable: bool = True, probe: bool = True) -> Storage:
    """The storage at `results`, `/results`, `file:///results` or `s3://bucket/prefix`.

    Raises UserError for any other URI, and where there is no such bucket or no permission; asked
    for at once, and without leaving anything. A folder that is not there is made by the first
    write, and is a mistake only if `writable` is False. Without `probe` nothing is written, not
    even to try it out: whether a bucket may be written to then shows at the first write.
    """
    place = parse_uri(uri)
    storage: Storage
    if isinstance(place, S3Uri):
        storage = S3Storage(bucket=place.bucket, prefix=place.prefix)
    else:
        assert isinstance(place, FolderUri)
        storage = LocalStorage(root=place.path)
    storage.check(writable=writable, probe=probe)
    return storage
