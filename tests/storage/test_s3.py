"""Errors of S3, and of the network on the way to it."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from fmnist.errors import UserError
from fmnist.storage import s3
from fmnist.storage.open import S3Storage, open_storage
from tests.support.servers.faulty import Exchange, faulty, status
from tests.support.servers.s3 import SECRET


def test_a_bucket_that_is_not_there(s3_server: str) -> None:
    with pytest.raises(UserError, match="s3://no-such-bucket/a: there is no such bucket"):
        open_storage("s3://no-such-bucket/a")


def test_an_endpoint_that_nobody_listens_at(s3_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://user:{SECRET}@127.0.0.1:{port}")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
        with pytest.raises(UserError, match=f"{s3_uri}: nothing answers at .* {port}") as refusal:
            open_storage(s3_uri)
    assert SECRET not in str(refusal.value)
    assert refusal.value.__suppress_context__


def test_an_endpoint_that_is_no_url(s3_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", SECRET)
    with pytest.raises(UserError, match="AWS_ENDPOINT_URL") as refusal:
        open_storage(s3_uri)
    assert SECRET not in str(refusal.value)


def test_no_credentials(s3_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(UserError, match="expected AWS_ACCESS_KEY_ID"):
        open_storage(s3_uri)


LISTING = b"<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>"


@contextmanager
def answering(answers: dict[str, tuple[int, bytes]]) -> Iterator[str]:
    """Yields the URL of a server that gives every request of a method the same answer."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wanted: ClassVar = answers

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, body = self.wanted[self.command]
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", '"0123"')
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_DELETE = do_POST = answer  # noqa: N815

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def refused(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>{SECRET}</Message></Error>".encode()


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"GET": (403, refused("AccessDenied"))}, "cannot open s3://bucket/a: no permission"),
        (
            {
                "GET": (200, LISTING),
                "PUT": (403, refused("AccessDenied")),
                "DELETE": (403, refused("AccessDenied")),
            },
            "cannot write s3://bucket/a/.*: no permission",
        ),
        ({"GET": (403, refused("SignatureDoesNotMatch"))}, "the secret key in the environment"),
        ({"GET": (503, refused("SlowDown"))}, "answered SlowDown to ListObjectsV2"),
        (
            {"GET": (200, LISTING), "PUT": (200, b""), "DELETE": (204, b"")},
            "the store ignores the conditions",
        ),
    ],
)
def test_what_a_store_may_refuse(
    s3_server: str, monkeypatch: pytest.MonkeyPatch, answers: dict, message: str
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    with answering(answers) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(UserError, match=message) as refusal:
            open_storage("s3://bucket/a")
    assert SECRET not in str(refusal.value)


@pytest.mark.parametrize("amazon", [True, False])
def test_opening_writes_nothing_on_amazon_and_leaves_nothing_elsewhere(
    s3_uri: str, s3_client: Any, monkeypatch: pytest.MonkeyPatch, amazon: bool
) -> None:
    sent = []
    put = S3Storage._client.func

    def client(self: S3Storage) -> Any:
        found = put(self)
        found.meta.events.register(
            "after-call.s3", lambda model, parsed, **_: sent.append((model.name, "Error" in parsed))
        )
        return found

    monkeypatch.setattr(S3Storage._client, "func", client)
    monkeypatch.setattr(s3, "endpoint", lambda: None if amazon else "elsewhere")
    storage = open_storage(s3_uri)
    assert isinstance(storage, S3Storage) and storage.quoted_etags
    written = [name for name, failed in sent if name == "PutObject" and not failed]
    assert len(written) == (0 if amazon else 2)
    assert "Contents" not in s3_client.list_objects_v2(Bucket=storage.bucket)


def test_a_store_that_refuses_every_condition(
    s3_uri: str, s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The object that was written for the test is removed."""

    def refuse(exchange: Exchange) -> None:
        held_to = {"If-Match", "If-None-Match"} & set(exchange.headers)
        (status(412, "PreconditionFailed") if held_to else Exchange.pass_on)(exchange)

    with faulty(s3_server) as proxy:
        proxy.fail(refuse)
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        with pytest.raises(UserError, match="refuses conditional writes whose condition holds"):
            open_storage(s3_uri)
        assert [line for line in proxy.requests if line.startswith("DELETE")]


def test_a_bucket_that_may_only_be_read(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering({"GET": (200, LISTING), "PUT": (403, refused("AccessDenied"))}) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        assert open_storage("s3://bucket/a", writable=False).keys() == []
