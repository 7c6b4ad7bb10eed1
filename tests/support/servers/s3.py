"""Fixtures: a real S3 protocol server (moto's) in a process of its own, and buckets in it.

Whatever is started after `s3_server` (Ray, its workers, a job) finds the server through the
environment that it inherits, so a test that starts Ray asks for the bucket first.
"""

import io
import logging
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.support.paths import ROOT

SECRET = "fake-secret-that-nobody-should-read"


@contextmanager
def serving() -> Iterator[str]:
    """Runs a server until the block ends; yields its URL."""
    command = [sys.executable, "-m", "tests.support.servers.s3"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        assert url.startswith("http://"), "the S3 server did not start"
        yield url
        server.kill()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Starts the server, sets the environment to it for the session, and yields its URL."""
    with serving() as url, pytest.MonkeyPatch.context() as patch:
        set_environment(patch, url)
        yield url


def set_environment(patch: pytest.MonkeyPatch, url: str) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        patch.delenv(name)
    patch.setenv("AWS_ENDPOINT_URL", url)
    patch.setenv("AWS_ACCESS_KEY_ID", "fake-access-key")
    patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    patch.setenv("AWS_CONFIG_FILE", os.devnull)
    patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    patch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(scope="session")
def s3_client(s3_server: str) -> Any:
    return boto3.session.Session().client("s3")


@pytest.fixture
def bucket(s3_client: Any) -> str:
    """Makes an empty bucket for one test, and returns its name."""
    name = f"bucket-{uuid.uuid4().hex}"
    s3_client.create_bucket(Bucket=name)
    return name


@pytest.fixture
def s3_uri(bucket: str) -> str:
    return f"s3://{bucket}/results"


@pytest.fixture(params=["folder", "s3"])
def storage_uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh storage root; tests with this fixture run both in a folder and on S3."""
    return (
        str(tmp_path / "results")
        if request.param == "folder"
        else request.getfixturevalue("s3_uri")
    )


class OneAtATime:
    """Handles requests one at a time, since moto checks a condition and writes in two steps.

    Requests that clients have not sent completely do not hold up the others.
    """

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application = application
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        from werkzeug.wsgi import get_input_stream

        body = get_input_stream(environ).read()
        environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(body), str(len(body))
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        with self._lock:
            return list(self._application(environ, start_response))


def serve() -> None:
    """Prints the URL, and serves until the process that started it closes the pipe or is dead."""
    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # not a line for each request
    application = OneAtATime(DomainDispatcherApplication(create_backend_app))
    server = make_server(
        "127.0.0.1", 0, application, threaded=True, request_handler=MotoRequestHandler
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.port}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    serve()
