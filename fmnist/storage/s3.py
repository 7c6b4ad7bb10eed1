"""Storage in an S3 bucket, or in a store that speaks S3 with conditional writes.

Credentials, region and endpoint come from the environment (AWS_*, AWS_ENDPOINT_URL), and
credentials are never put into a message.
"""

import io
import os
import secrets
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

import boto3
import pyarrow.fs
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError

from fmnist.errors import UserError
from fmnist.storage.atomic import RESERVED
from fmnist.storage.base import Readable, Storage, Writable, check_key
from fmnist.storage.errors import CONDITION_FAILED, CONFLICT, NOT_FOUND, code_of, s3_errors, tries
from fmnist.storage.s3_arrow import (
    CONNECT_TIMEOUT,
    READ_TIMEOUT,
    ArrowS3,
    disable_trailing_checksums,
    endpoint,
)
from fmnist.storage.s3_conditions import NO_OBJECT, accepts_quoted_etags, if_match

# Attempts of one request, unless AWS_MAX_ATTEMPTS is set: about half a minute (see `s3_arrow.py`).
BOTO_ATTEMPTS = 11
TOKEN = "token"  # in the metadata: which request wrote an object
CHUNK = 1 << 20  # bytes received at a time
DELETED_AT_ONCE = 1000  # keys, S3's limit for one request


@dataclass(frozen=True, kw_only=True)
class S3Storage(Storage):
    """The keys below `prefix/` of a bucket, or all of it where the prefix is empty.

    `quoted_etags` says how the store wants ETags in conditions (see s3_conditions).
    """

    bucket: str
    prefix: str = ""
    quoted_etags: bool = field(default=True, init=False, compare=False)

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def check(self, *, writable: bool, probe: bool = True) -> None:
        with self._errors("open"):
            self._client.list_objects_v2(Bucket=self.bucket, Prefix=self._root, MaxKeys=1)
        if not writable or not probe:
            return
        if endpoint():
            quoted = accepts_quoted_etags(self._client, self.bucket, self._root)
            object.__setattr__(self, "quoted_etags", quoted)
        else:
            # A condition that can't hold shows, without a write, whether a write is allowed.
            self._put("write-probe", b"", if_match(NO_OBJECT, quoted=True))

    def read_version(self, key: str) -> tuple[bytes, str] | None:
        content = io.BytesIO()
        version = self._download_version(content, key)
        return None if version is None else (content.getvalue(), version)

    def write(self, key: str, data: bytes) -> None:
        self._put(key, data, {})

    def replace(self, key: str, data: bytes, *, version: str | None) -> str | None:
        if version is None:
            return self._put(key, data, {"IfNoneMatch": "*"})
        return self._put(key, data, if_match(version, quoted=self.quoted_etags))

    def keys(self, prefix: str = "") -> list[str]:
        return sorted(self.modification_times(prefix))

    def folders(self, prefix: str) -> list[str]:
        start = f"{self._name(prefix)}/"
        with self._errors("list", prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=start, Delimiter="/"
            )
            found = [entry["Prefix"] for page in pages for entry in page.get("CommonPrefixes", ())]
        names = (name.removeprefix(start).rstrip("/") for name in found)
        return sorted(name for name in names if not name.startswith(RESERVED))

    def modification_times(self, prefix: str) -> dict[str, datetime]:
        return {
            name.removeprefix(self._root): time
            for name, time in self._list(prefix).items()
            if not name.endswith("/") and f"/{RESERVED}" not in f"/{name}"
        }

    def delete(self, prefix: str) -> None:
        names = list(self._list(check_key(prefix)))  # the check refuses an empty prefix
        with self._errors("delete", prefix):
            for start in range(0, len(names), DELETED_AT_ONCE):
                batch = [{"Key": name} for name in names[start : start + DELETED_AT_ONCE]]
                answer = self._client.delete_objects(
                    Bucket=self.bucket, Delete={"Objects": batch, "Quiet": True}
                )
                for failure in answer.get("Errors", ()):
                    raise ClientError({"Error": failure}, "DeleteObjects")

    def arrow(self, key: str = "") -> tuple[pyarrow.fs.FileSystem, str]:
        name = self._name(key) if key else self._root
        return ArrowS3(), f"{self.bucket}/{name}".rstrip("/")

    def _upload_from(self, source: Readable, key: str) -> None:
        name, token = self._name(key), secrets.token_hex(8)
        with self._errors("write", key):
            try:
                self._client.upload_fileobj(
                    source, self.bucket, name, ExtraArgs={"Metadata": {TOKEN: token}}
                )
            except ClientError as error:
                # If the answer to an upload's completion was lost, boto completes it once more, and
                # some stores do not know the upload any more.
                if code_of(error) != "NoSuchUpload" or not self._own_version(key, token):
                    raise

    def _download_to(self, sink: Writable, key: str) -> bool:
        return self._download_version(sink, key) is not None

    def _download_version(self, sink: Writable, key: str) -> str | None:
        """Writes the content into `sink`, and returns its version; None if there is no such key.

        Boto retries a request, but not the body of its answer, and its own downloads write some
        bytes twice where a body breaks off. So this asks again for the bytes that are missing.
        """
        name, version, received = self._name(key), "", 0
        with self._errors("read", key):
            for is_last in tries():
                rest = {"Range": f"bytes={received}-", "IfMatch": version} if received else {}
                try:
                    answer = self._client.get_object(Bucket=self.bucket, Key=name, **rest)
                except ClientError as error:
                    if code_of(error) in NOT_FOUND and not received:
                        return None
                    raise
                version = answer["ETag"]
                try:
                    for chunk in answer["Body"].iter_chunks(CHUNK):
                        received += sink.write(chunk)
                    return str(version)
                except (HTTPClientError, IncompleteReadError):
                    if is_last:
                        raise
        raise AssertionError

    @property
    def _root(self) -> str:
        """The beginning of the names of all keys in the bucket."""
        return f"{self.prefix}/" if self.prefix else ""

    def _name(self, key: str) -> str:
        """The key's name in the bucket."""
        return self._root + check_key(key)

    def _list(self, prefix: str) -> dict[str, datetime]:
        """Names in the bucket, and when they were written.

        Among them are the markers that Arrow writes for empty folders, which are no keys.
        """
        start = self._name(prefix) if prefix else self._root
        with self._errors("list", prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=start
            )
            entries = [entry for page in pages for entry in page.get("Contents", ())]
        return {
            entry["Key"]: entry["LastModified"]
            for entry in entries
            if not prefix or entry["Key"] == start or entry["Key"].startswith(f"{start}/")
        }

    def _put(self, key: str, data: bytes, condition: dict[str, str]) -> str | None:
        """Writes the content, and returns its version; None if the condition does not hold.

        Boto sends a request again if its answer was lost, and then fails because of its own first
        write; a token in the metadata shows whose write it was.
        """
        name, token = self._name(key), secrets.token_hex(8)
        with self._errors("write", key):
            for is_last in tries():
                try:
                    answer = self._client.put_object(
                        Bucket=self.bucket,
                        Key=name,
                        Body=data,
                        Metadata={TOKEN: token},
                        **condition,
                    )
                    return str(answer["ETag"])
                except ClientError as error:
                    if condition and code_of(error) in CONDITION_FAILED:
                        return self._own_version(key, token)
                    if code_of(error) not in CONFLICT or is_last:
                        raise
        raise AssertionError

    def _own_version(self, key: str, token: str) -> str | None:
        """The version of the content if it was written with this token, else None."""
        with self._errors("read", key):
            try:
                found = self._client.head_object(Bucket=self.bucket, Key=self._name(key))
            except ClientError as error:
                if code_of(error) in NOT_FOUND:
                    return None
                raise
        return str(found["ETag"]) if found["Metadata"].get(TOKEN) == token else None

    @cached_property
    def _client(self) -> Any:
        retries: dict[str, Any] = {"mode": "standard"}
        if "AWS_MAX_ATTEMPTS" not in os.environ:
            retries["total_max_attempts"] = BOTO_ATTEMPTS
        disable_trailing_checksums()
        config = Config(
            retries=retries,
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=READ_TIMEOUT,
            # Other stores than Amazon's have seldom a host name for each bucket.
            s3={"addressing_style": "path"} if endpoint() else {},
        )
        try:
            return boto3.session.Session().client("s3", config=config)
        except ValueError:  # its message repeats the URL, which may hold a password
            raise UserError(f"storage {self.uri}: AWS_ENDPOINT_URL is not a valid URL") from None

    def __getstate__(self) -> dict[str, Any]:
        """The fields without the client, which can't be pickled and has this machine's settings."""
        return {"bucket": self.bucket, "prefix": self.prefix, "quoted_etags": self.quoted_etags}

    def _errors(self, action: str, key: str = "") -> AbstractContextManager[None]:
        return s3_errors(f"{action} {self.uri}/{key}" if key else f"{action} {self.uri}")
