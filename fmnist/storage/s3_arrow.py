"""S3 as Arrow reads and writes it, with timeouts and retries like those of boto here."""

import os
from typing import Any

import pyarrow.fs

CONNECT_TIMEOUT = 5  # seconds
READ_TIMEOUT = 20  # seconds without a byte
# Attempts of one request, unless AWS_MAX_ATTEMPTS is set, with backoff and jitter: together about
# half a minute, as the attempts of boto in `s3.py`, which waits differently long between two.
ARROW_ATTEMPTS = 8


class ArrowS3(pyarrow.fs.S3FileSystem):
    """Arrow's S3 file system, which keeps its retries when it is pickled.

    Arrow's own loses them in another process, and there sends a request that hangs 31 times.
    Credentials and endpoint come from the environment; `region` too, unless it is given.
    """

    def __init__(self, region: str | None = None) -> None:
        disable_trailing_checksums()
        attempts = int(os.environ.get("AWS_MAX_ATTEMPTS", ARROW_ATTEMPTS))
        super().__init__(
            region=region,
            endpoint_override=endpoint(),  # Arrow reads it from the environment for a URI only
            connect_timeout=CONNECT_TIMEOUT,
            request_timeout=READ_TIMEOUT,
            retry_strategy=pyarrow.fs.AwsStandardS3RetryStrategy(max_attempts=attempts),
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return ArrowS3, (self.region,)


def disable_trailing_checksums() -> None:
    """Sends other stores than Amazon's no checksums that they have not asked for.

    Arrow would send them after a body of unknown length, which Ceph's gateway refuses (411
    MissingContentLength). The AWS libraries read the variable; a value that the user has set stays.
    """
    if endpoint():
        os.environ.setdefault("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")


def endpoint() -> str | None:
    """The store's address if it is not Amazon's."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
