"""Turns what a disk, a store or the network refused into UserErrors: one wording for each cause.

No message holds hosts' credentials, request ids or URIs that a library put into its own message.
"""

import http.client
import random
import re
import time
import urllib.error
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pyarrow as pa
from boto3.exceptions import Boto3Error
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    PartialCredentialsError,
)

from fmnist.errors import StorageError, UserError

READ_ERRORS = (
    OSError,
    http.client.HTTPException,
    EOFError,
    zlib.error,
    pa.ArrowException,
    UnicodeDecodeError,  # raised by Arrow for a column's name
)
S3_ERRORS = (ClientError, BotoCoreError, Boto3Error)

# Error codes of S3, and the HTTP statuses that stand for them where an answer has no body.
NOT_FOUND = {"404", "NoSuchKey"}
CONDITION_FAILED = NOT_FOUND | {"412", "PreconditionFailed"}
CONFLICT = {"409", "ConditionalRequestConflict"}  # two writes met, and neither took effect

NO_PERMISSION = "no permission"
S3_REASONS = {
    "NoSuchBucket": "there is no such bucket",
    "AccessDenied": NO_PERMISSION,
    "403": NO_PERMISSION,
    "InvalidAccessKeyId": "the store does not know the access key in the environment",
    "SignatureDoesNotMatch": "the secret key in the environment does not belong to its access key",
    "ExpiredToken": "the credentials in the environment have expired",
}
ARROW_REASONS = {"NETWORK_CONNECTION": "the connection failed", "ACCESS_DENIED": NO_PERMISSION}
TRIES = 8  # of what boto does not try again itself


@contextmanager
def os_errors(action: str) -> Iterator[None]:
    """Turns errors of the operating system, such as a full disk, into a StorageError."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot {action}: {explain(error)}") from error


@contextmanager
def s3_errors(action: str) -> Iterator[None]:
    """Turns every error of boto3, such as a missing bucket, into a StorageError."""
    try:
        yield
    except S3_ERRORS as error:
        # Not chained: boto's own messages repeat the endpoint with whatever it holds.
        raise StorageError(f"cannot {action}: {explain(error)}") from None


@contextmanager
def read_errors(where: str) -> Iterator[None]:
    """Turns whatever goes wrong while `where` is read into a UserError that names it."""
    try:
        yield
    except READ_ERRORS as error:
        to_read = " to read it" if isinstance(error, PermissionError) else ""
        raise UserError(f"{where}: {explain(error)}{to_read}") from error


def explain(error: BaseException) -> str:
    """The cause of an error in one line, without hosts, request ids and credentials."""
    if isinstance(error, S3_ERRORS):
        return _explain_s3(error)
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP status {error.code}"
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, OSError):
        return explain(error.reason)
    if isinstance(error, zlib.error):
        return f"its gzip data are corrupt ({error})"
    text = str(error)
    if found := re.search(r"AWS Error (\w+) during (\w+)", text):  # from Arrow
        return ARROW_REASONS.get(found[1], f"S3 error {found[1]} in {found[2]}")
    if isinstance(error, FileNotFoundError):
        return "no such file or folder"
    if isinstance(error, PermissionError):
        return NO_PERMISSION
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror
    first_line = next(iter(text.splitlines()), "") or type(error).__name__
    return re.sub(r"\S+://\S+", "a URI", first_line)


def code_of(error: ClientError) -> str:
    """The code that S3 gave to an error, or the HTTP status where the answer has no body."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _explain_s3(error: Exception) -> str:
    if isinstance(error, ClientError):
        code = code_of(error)
        return S3_REASONS.get(code, f"the store answered {code} to {error.operation_name}")
    if isinstance(error, EndpointConnectionError):
        endpoint = urlsplit(error.kwargs["endpoint_url"])
        return f"nothing answers at {endpoint.hostname} (port {endpoint.port or endpoint.scheme})"
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return "found no credentials, expected AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    return f"the connection failed ({type(error).__name__})"


def tries() -> Iterator[bool]:
    """Yields for each try whether it is the last; waits a random time, which grows, between two.

    Not tenacity's retries: a download goes on where it broke off, and only errors of its body count
    here, since boto has retried all others already.
    """
    for number in range(TRIES):
        if number:
            time.sleep(random.uniform(0, 0.05 * 2 ** (number - 1)))
        yield number == TRIES - 1
