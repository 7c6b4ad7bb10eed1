"""A proxy before the S3 server that injects faults, in threads of the test's process.

All other requests are passed on unchanged. The connection is closed after each answer, so that a
fault concerns one request only.
"""

import http.client
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

WRITES = frozenset({"PUT", "POST", "DELETE"})
HOP = {"connection", "keep-alive", "transfer-encoding", "expect", "te", "content-length"}


class Exchange(BaseHTTPRequestHandler):
    """One request and its answer. A fault acts on it after its body was read."""

    protocol_version = "HTTP/1.1"  # also answers `Expect: 100-continue`
    proxy: ClassVar["Proxy"]
    body: bytes

    def handle_request(self) -> None:
        self.body = self._read_body()
        self.close_connection = True
        fault = self.proxy.fault_for(self.command, self.path)
        with suppress(BrokenPipeError, ConnectionResetError):  # the client has given up
            (fault or Exchange.pass_on)(self)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = handle_request  # noqa: N815

    def pass_on(self) -> None:
        self.send(*self.ask())

    def ask(self) -> tuple[int, list[tuple[str, str]], bytes]:
        """Passes the request on, and returns the server's answer."""
        host, port = self.proxy.server.removeprefix("http://").split(":")
        upstream = http.client.HTTPConnection(host, int(port), timeout=60)
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in HOP:
                upstream.putheader(name, value)
        upstream.putheader("Content-Length", str(len(self.body)))
        upstream.endheaders(self.body)
        with upstream.getresponse() as answer:
            found = answer.status, answer.getheaders(), answer.read()
        upstream.close()
        return found

    def send(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        """Sends an answer with the `Content-Length` of the headers, or else of the body."""
        self.send_response_only(status)
        length = str(len(body))
        for name, value in headers:
            if name.lower() == "content-length":
                length = value
            elif name.lower() not in HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def drop(self) -> None:
        """Resets the connection: with these options, closing a socket sends RST instead of FIN."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())

    def finish(self) -> None:
        if self.connection.fileno() >= 0:
            super().finish()

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():  # trailers
            pass
        return body

    def log_message(self, *_: object) -> None: ...


Fault = Callable[[Exchange], None]


def status(code: int, name: str) -> Fault:
    """Returns the fault that answers with an error of S3."""

    def answer(exchange: Exchange) -> None:
        body = f"<Error><Code>{name}</Code><Message>injected</Message></Error>".encode()
        exchange.send(code, [("Content-Type", "application/xml")], body)

    return answer


UNAVAILABLE = status(503, "ServiceUnavailable")
SLOW_DOWN = status(503, "SlowDown")
TOO_MANY = status(429, "TooManyRequests")
DENIED = status(403, "AccessDenied")


def reset(exchange: Exchange) -> None:
    """The request is not passed on, and the connection is reset."""
    exchange.drop()


def lose(exchange: Exchange) -> None:
    """The request is passed on, and the connection is reset instead of the answer."""
    exchange.ask()
    exchange.drop()


def cut(exchange: Exchange) -> None:
    """The request is passed on, and the body of the answer breaks off in the middle."""
    code, headers, body = exchange.ask()
    exchange.send(code, headers, body[: len(body) // 2])


def hang(seconds: float) -> Fault:
    """Returns the fault that does nothing for so many seconds and then resets the connection."""

    def wait(exchange: Exchange) -> None:
        exchange.proxy.over.wait(seconds)
        exchange.drop()

    return wait


@dataclass(kw_only=True)
class Rule:
    fault: Fault
    times: float
    methods: frozenset[str]
    key: str
    after: int
    each: bool
    seen: set[str] = field(default_factory=set)

    def takes(self, method: str, path: str) -> bool:
        """Returns True if the fault is for this request, and counts it."""
        if (self.methods and method not in self.methods) or self.key not in path:
            return False
        if self.each:  # request of its own kind
            fresh = f"{method} {path}" not in self.seen
            self.seen.add(f"{method} {path}")
            return fresh
        self.after -= 1
        if self.after >= 0 or self.times <= 0:
            return False
        self.times -= 1
        return True


class Proxy:
    """A proxy; `url` is its address, `hits` is the number of injected faults."""

    def __init__(self, server: str) -> None:
        self.server = server
        self.url = ""
        self.hits = 0
        self.over = threading.Event()
        self.requests: list[str] = []
        self._rules: list[Rule] = []
        self._lock = threading.Lock()

    def fail(
        self,
        fault: Fault,
        *,
        times: float = float("inf"),
        methods: frozenset[str] = frozenset(),
        key: str = "",
        after: int = 0,
        each: bool = False,
    ) -> None:
        """Lets the next `times` requests of these methods fail whose path contains `key`.

        The first `after` of them are passed on. With `each`, it is the first request of each
        method and path instead, so that everything succeeds at the second try and nothing before.
        """
        rule = Rule(fault=fault, times=times, methods=methods, key=key, after=after, each=each)
        with self._lock:
            self._rules.append(rule)

    def heal(self) -> int:
        """Ends all faults; returns how many were injected since the last call."""
        with self._lock:
            self._rules.clear()
            hits, self.hits = self.hits, 0
        return hits

    def fault_for(self, method: str, path: str) -> Fault | None:
        with self._lock:
            self.requests.append(f"{method} {path}")
            for rule in self._rules:
                if rule.takes(method, path):
                    self.hits += 1
                    return rule.fault
        return None


@contextmanager
def faulty(server: str) -> Iterator[Proxy]:
    """Starts a proxy before the server at that URL."""
    proxy = Proxy(server)

    class Handler(Exchange):
        pass

    Handler.proxy = proxy

    class Server(ThreadingHTTPServer):
        request_queue_size = 64

        def shutdown_request(self, request: Any) -> None:
            if request.fileno() >= 0:
                super().shutdown_request(request)

    with Server(("127.0.0.1", 0), Handler) as listener:
        proxy.url = f"http://127.0.0.1:{listener.server_port}"
        threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.05}).start()
        try:
            yield proxy
        finally:
            proxy.over.set()  # what hangs ends
            listener.shutdown()


@pytest.fixture
def proxy(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy for all storages that this process opens from now on."""
    with faulty(s3_server) as found:
        monkeypatch.setenv("AWS_ENDPOINT_URL", found.url)
        yield found
