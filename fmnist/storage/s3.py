"""Storage in an S3 bucket, or in a store that speaks S3 with conditional writes.

Credentials, region and endpoint come from the environment (AWS_*, AWS_ENDPOINT_URL), and
credentials are never put into a message.
"""

import io
import os
import random
import secrets
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError

from fmnist.errors import UserError
from fmnist.storage.atomic import RESERVED
from fmnist.storage.base import Readable, Storage, Writable
from fmnist.storage.s3_arrow import CONNECT_TIMEOUT, READ_TIMEOUT, ArrowS3, avoid_trailers, endpoint
from fmnist.storage.s3_conditions import NEVER, if_match, wants_marks
from fmnist.storage.s3_errors import ABSENT, IN_CONFLICT, OVERTAKEN, code_of, s3_errors
from fmnist.storage.uri import check_key

ATTEMPTS = 11  # of one request, with backoff and jitter: 23 s on average; AWS_MAX_ATTEMPTS wins
TRIES = 8  # of what boto does not try again itself
TOKEN = "token"  # in the metadata: which request wrote an object
CHUNK = 1 << 20  # bytes received at a time
DELETED_AT_ONCE = 1000  # keys, S3's limit for one request


@dataclass(frozen=True, kw_only=True)
class S3Storage(Storage):
    """The keys below `prefix/` of a bucket, or all of it where the prefix is empty."""

    bucket: str
    prefix: str = ""
    marks: bool = field(default=True, init=False, compare=False)  # see s3_conditions

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def check(self, *, writable: bool, probe: bool = True) -> None:
        with self._errors("open"):
            self._client.list_objects_v2(Bucket=self.bucket, Prefix=self._root, MaxKeys=1)
        if not writable or not probe:
            return
        if endpoint():
            marks = wants_marks(self._client, self.bucket, self._root)
            object.__setattr__(self, "marks", marks)
        else:
            # Whether a write is allowed is told, without writing, by a condition that can't hold.
            self._put("write-probe", b"", if_match(NEVER, marks=True))

    def read_version(self, key: str) -> tuple[bytes, str] | None:
        content = io.BytesIO()
        version = self._read_into(content, key)
        return None if version is None else (content.getvalue(), version)

    def write(self, key: str, data: bytes) -> None:
        self._put(key, data, {})

    def replace(self, key: str, data: bytes, *, version: str | None) -> str | None:
        unchanged = {"IfNoneMatch": "*"} if version is None else if_match(version, marks=self.marks)
        return self._put(key, data, unchanged)

    def exists(self, key: str) -> bool:
        return self._head(key) is not None

    def keys(self, prefix: str = "") -> list[str]:
        return sorted(self.modified(prefix))

    def modified(self, prefix: str) -> dict[str, datetime]:
        return {
            name.removeprefix(self._root): time
            for name, time in self._times(prefix).items()
            if not name.endswith("/") and f"/{RESERVED}" not in f"/{name}"
        }

    def delete(self, prefix: str) -> None:
        names = list(self._times(check_key(prefix)))  # never all of them
        with self._errors("delete", prefix):
            for start in range(0, len(names), DELETED_AT_ONCE):
                batch = [{"Key": name} for name in names[start : start + DELETED_AT_ONCE]]
                answer = self._client.delete_objects(
                    Bucket=self.bucket, Delete={"Objects": batch, "Quiet": True}
                )
                for failure in answer.get("Errors", ()):
                    raise ClientError({"Error": failure}, "DeleteObjects")

    def arrow(self, key: str = "") -> tuple[Any, str]:
        name = self._name(key) if key else self._root
        return ArrowS3(), f"{self.bucket}/{name}".rstrip("/")

    def _send(self, source: Readable, key: str) -> None:
        name, token = self._name(key), secrets.token_hex(8)
        with self._errors("write", key):
            try:
                self._client.upload_fileobj(
                    source, self.bucket, name, ExtraArgs={"Metadata": {TOKEN: token}}
                )
            except ClientError as error:
                # Where the answer to its completion was lost, boto completes an upload once more,
                # and some stores no longer know it then.
                if code_of(error) != "NoSuchUpload" or not self._own_version(key, token):
                    raise

    def _receive(self, key: str, sink: Writable) -> bool:
        return self._read_into(sink, key) is not None

    def _read_into(self, sink: Writable, key: str) -> str | None:
        """The version of what was written into `sink`; None if there is no such key.

        Boto retries a request, but not the body of its answer, and its own downloads write some
        bytes twice where a body breaks off. So we ask again for what is missing.
        """
        name, version, received = self._name(key), "", 0
        with self._errors("read", key):
            for attempt in range(TRIES):
                rest = {"Range": f"bytes={received}-", "IfMatch": version} if received else {}
                try:
                    answer = self._client.get_object(Bucket=self.bucket, Key=name, **rest)
                except ClientError as error:
                    if code_of(error) in ABSENT and not received:
                        return None
                    raise
                version = answer["ETag"]
                try:
                    for chunk in answer["Body"].iter_chunks(CHUNK):
                        received += sink.write(chunk)
                    return str(version)
                except (HTTPClientError, IncompleteReadError):
                    if attempt == TRIES - 1:
                        raise
                    _back_off(attempt)
        raise AssertionError

    @property
    def _root(self) -> str:
        """What the names of all keys begin with."""
        return f"{self.prefix}/" if self.prefix else ""

    def _name(self, key: str) -> str:
        """The key in the bucket."""
        return self._root + check_key(key)

    def _times(self, prefix: str) -> dict[str, datetime]:
        """The names in the bucket, also of the markers that Arrow writes for empty folders."""
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
        """The new version; None if the condition does not hold.

        A request whose answer was lost is sent again by boto, and then meets its own first write;
        a token in the metadata tells that from somebody else's.
        """
        name, token = self._name(key), secrets.token_hex(8)
        with self._errors("write", key):
            for attempt in range(TRIES):
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
                    if condition and code_of(error) in OVERTAKEN:
                        return self._own_version(key, token)
                    if code_of(error) not in IN_CONFLICT or attempt == TRIES - 1:
                        raise
                    _back_off(attempt)
        raise AssertionError

    def _own_version(self, key: str, token: str) -> str | None:
        """The version of what is there, if that was written with this token."""
        found = self._head(key)
        return str(found["ETag"]) if found and found["Metadata"].get(TOKEN) == token else None

    def _head(self, key: str) -> dict[str, Any] | None:
        """What S3 says of the key without its content; None if there is nothing."""
        name = self._name(key)
        with self._errors("read", key):
            try:
                found: dict[str, Any] = self._client.head_object(Bucket=self.bucket, Key=name)
            except ClientError as error:
                if code_of(error) in ABSENT:
                    return None
                raise
        return found

    @cached_property
    def _client(self) -> Any:
        retries: dict[str, Any] = {"mode": "standard"}
        if "AWS_MAX_ATTEMPTS" not in os.environ:
            retries["total_max_attempts"] = ATTEMPTS
        avoid_trailers()
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
        """Without the client: it can't be pickled, and belongs to this machine's environment."""
        return {"bucket": self.bucket, "prefix": self.prefix, "marks": self.marks}

    def _errors(self, action: str, key: str = "") -> AbstractContextManager[None]:
        return s3_errors(f"{action} {self.uri}/{key}" if key else f"{action} {self.uri}")


def _back_off(attempt: int) -> None:
    time.sleep(random.uniform(0, 0.05 * 2**attempt))
