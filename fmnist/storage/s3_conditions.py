"""Finds out, by trying, which conditions of a write a store keeps to.

Amazon's `If-Match` takes an ETag with its quotation marks. Ceph's gateway (16.2) compares without
them, so that every right condition with them fails. Some stores ignore conditions altogether.
"""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from botocore.exceptions import ClientError

from fmnist.errors import UserError
from fmnist.storage.atomic import RESERVED
from fmnist.storage.errors import CONDITION_FAILED, code_of, s3_errors

NO_OBJECT = '"never"'  # an ETag that no object has


def if_match(etag: str, *, quoted: bool) -> dict[str, str]:
    """The condition that an object still has this ETag, as the store understands it."""
    return {"IfMatch": etag if quoted else etag.strip('"')}


def accepts_quoted_etags(client: Any, bucket: str, root: str) -> bool:
    """Returns False if the store wants ETags in conditions without their quotation marks.

    Writes an empty object below `root`, under a name that is no key, and removes it. Raises
    UserError for a store that ignores conditions, and for one that refuses those that hold.
    """
    with _probe(client, bucket, f"{root}{RESERVED}{secrets.token_hex(8)}") as write:
        etag = write({})
        if write({"IfNoneMatch": "*"}):
            raise _unfit(bucket, root, "ignores the conditions of conditional writes")
        for quoted in (True, False):
            if write(if_match(NO_OBJECT, quoted=quoted)):
                raise _unfit(bucket, root, "ignores the conditions of conditional writes")
            if write(if_match(etag, quoted=quoted)):
                return quoted
    raise _unfit(bucket, root, "refuses conditional writes whose condition holds")


def _unfit(bucket: str, root: str, problem: str) -> UserError:
    uri = f"s3://{bucket}/{root}".rstrip("/")
    return UserError(
        f"storage {uri}: the store {problem} (If-Match, If-None-Match), expected one that keeps "
        "to them"
    )


@contextmanager
def _probe(client: Any, bucket: str, name: str) -> Iterator[Callable[[dict[str, str]], str]]:
    """Yields a function that writes the object under a condition, and removes it at the end.

    The function returns the ETag; an empty one if the condition does not hold.
    """

    def write(condition: dict[str, str]) -> str:
        try:
            return str(client.put_object(Bucket=bucket, Key=name, Body=b"", **condition)["ETag"])
        except ClientError as error:
            if code_of(error) in CONDITION_FAILED:
                return ""
            raise

    def delete() -> None:
        with s3_errors(f"delete s3://{bucket}/{name}"):
            client.delete_object(Bucket=bucket, Key=name)

    try:
        with s3_errors(f"write s3://{bucket}/{name}"):
            yield write
    except BaseException:
        with suppress(UserError):  # the first error is the one that the user should see
            delete()
        raise
    delete()
