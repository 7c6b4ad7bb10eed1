"""Which conditions of a write a store keeps to, found out by trying.

Amazon's `If-Match` takes an ETag with its quotation marks. Ceph's gateway (16.2) compares without
them, so that every right condition with them fails. Some stores ignore conditions altogether.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from botocore.exceptions import ClientError

from fmnist.errors import UserError
from fmnist.storage.atomic import RESERVED
from fmnist.storage.s3_errors import OVERTAKEN, code_of, s3_errors

NEVER = '"never"'  # the ETag of nothing


def if_match(etag: str, *, marks: bool) -> dict[str, str]:
    """The condition that an object still has this ETag, as the store understands it."""
    return {"IfMatch": etag if marks else etag.strip('"')}


def wants_marks(client: Any, bucket: str, root: str) -> bool:
    """Returns False if the store wants ETags in conditions without their quotation marks.

    Writes an empty object below `root`, under a name that is no key, and removes it. Raises
    UserError for a store that ignores conditions, and for one that refuses those that hold.
    """
    with _probe(client, bucket, f"{root}{RESERVED}{secrets.token_hex(8)}") as write:
        etag = write({})
        if write({"IfNoneMatch": "*"}):
            raise _unfit(bucket, root, "ignores the conditions of conditional writes")
        for marks in (True, False):
            if write(if_match(NEVER, marks=marks)):
                raise _unfit(bucket, root, "ignores the conditions of conditional writes")
            if write(if_match(etag, marks=marks)):
                return marks
    raise _unfit(bucket, root, "refuses conditional writes whose condition holds")


def _unfit(bucket: str, root: str, problem: str) -> UserError:
    uri = f"s3://{bucket}/{root}".rstrip("/")
    return UserError(
        f"storage {uri}: the store {problem} (If-Match, If-None-Match), expected one that keeps "
        "to them"
    )


@contextmanager
def _probe(client: Any, bucket: str, name: str) -> Iterator[Any]:
    """Yields what writes the object and returns its ETag; empty if the condition does not hold."""

    def write(condition: dict[str, str]) -> str:
        try:
            return str(client.put_object(Bucket=bucket, Key=name, Body=b"", **condition)["ETag"])
        except ClientError as error:
            if code_of(error) in OVERTAKEN:
                return ""
            raise

    def delete() -> None:
        with s3_errors(f"delete s3://{bucket}/{name}"):
            client.delete_object(Bucket=bucket, Key=name)

    try:
        with s3_errors(f"write s3://{bucket}/{name}"):
            yield write
    except BaseException:
        with suppress(UserError):  # the first error is the one to tell
            delete()
        raise
    delete()
