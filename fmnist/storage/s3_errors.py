"""What S3 or the way to it refused, in words that hold no credentials."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from boto3.exceptions import Boto3Error
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    PartialCredentialsError,
)

from fmnist.errors import StorageError

ABSENT = {"404", "NoSuchKey"}
OVERTAKEN = ABSENT | {"412", "PreconditionFailed"}
IN_CONFLICT = {"409", "ConditionalRequestConflict"}  # two writes met, and neither was judged
REASONS = {
    "NoSuchBucket": "there is no such bucket",
    "AccessDenied": "no permission",
    "403": "no permission",
    "InvalidAccessKeyId": "the store does not know the access key in the environment",
    "SignatureDoesNotMatch": "the secret key in the environment does not belong to its access key",
    "ExpiredToken": "the credentials in the environment have expired",
}


@contextmanager
def s3_errors(action: str) -> Iterator[None]:
    """Makes every error of boto3 the user's to mend: permission, a missing bucket, the network."""
    try:
        yield
    except (ClientError, BotoCoreError, Boto3Error) as error:
        # Not chained: boto's own messages repeat the endpoint with whatever it holds.
        raise StorageError(f"cannot {action}: {_reason(error)}") from None


def code_of(error: ClientError) -> str:
    """S3's name of the error, or the HTTP status where the answer has no body."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _reason(error: Exception) -> str:
    if isinstance(error, ClientError):
        code = code_of(error)
        return REASONS.get(code, f"the store answered {code} to {error.operation_name}")
    if isinstance(error, EndpointConnectionError):
        endpoint = urlsplit(error.kwargs["endpoint_url"])
        return f"nothing answers at {endpoint.hostname} (port {endpoint.port or endpoint.scheme})"
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return "found no credentials, expected AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    return f"the connection failed ({type(error).__name__})"
