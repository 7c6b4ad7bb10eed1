"""Many processes use a storage at once: one of them wins, and nobody reads half a file."""

import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fmnist.storage.open import Storage, open_storage
from tests.support.paths import ROOT


@pytest.fixture(params=["folder", "s3", "ceph"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return open_storage(str(tmp_path / "results"))
    return open_storage(request.getfixturevalue(f"{request.param}_uri"))


def test_one_of_many_creates(storage: Storage) -> None:
    for round_ in range(3):
        barrier = threading.Barrier(8)

        def create(number: int, key: str = f"key-{round_}", barrier: Any = barrier) -> bool:
            barrier.wait()
            return storage.create(key, str(number).encode())

        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(create, range(8)))
        assert won.count(True) == 1
        assert storage.read(f"key-{round_}") == str(won.index(True)).encode()


COUNT = """
import sys
from fmnist.storage.open import open_storage
storage, done = open_storage(sys.argv[1]), 0
while done < 6:
    found = storage.read_version("counter")
    value, version = (int(found[0]), found[1]) if found else (0, None)
    done += storage.replace("counter", str(value + 1).encode(), version=version) is not None
"""


def test_processes_that_count_lose_nothing(storage: Storage) -> None:
    command = [sys.executable, "-c", COUNT, storage.uri]
    counters = [subprocess.Popen(command, cwd=ROOT) for _ in range(2)]
    assert [counter.wait() for counter in counters] == [0, 0]
    assert storage.read("counter") == b"12"


def test_threads_that_count_lose_nothing(storage: Storage) -> None:
    def count(_: int) -> None:
        done = 0
        while done < 6:
            found = storage.read_version("counter")
            value, version = (int(found[0]), found[1]) if found else (0, None)
            done += storage.replace("counter", str(value + 1).encode(), version=version) is not None

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(count, range(5)))
    assert storage.read("counter") == b"30"


def test_a_reader_never_sees_half(storage: Storage) -> None:
    contents = [bytes([number]) * 300_000 for number in range(4)]
    storage.write("key", contents[0])
    stop = threading.Event()

    def read() -> bool:
        whole = True
        while whole and not stop.is_set():
            whole = storage.read("key") in contents and storage.keys() == ["key"]
        return whole

    with ThreadPoolExecutor(2) as pool:
        reads = [pool.submit(read) for _ in range(2)]
        for number in range(40):
            storage.write("key", contents[number % 4])
        stop.set()
        assert all(future.result() for future in reads)


def test_no_request_waits_for_a_client_that_stands_still(s3_server: str, s3_uri: str) -> None:
    """The S3 server of the tests handles one request at a time, after it has received all of it."""
    host, port = s3_server.removeprefix("http://").split(":")
    bucket = s3_uri.split("/")[2]
    with socket.create_connection((host, int(port))) as half:
        half.sendall(
            f"PUT /{bucket}/half HTTP/1.1\r\nHost: {host}\r\nContent-Length: 9\r\n\r\n123".encode()
        )
        time.sleep(0.2)
        storage = open_storage(s3_uri)
        storage.write("key", b"whole")
        assert storage.read("key") == b"whole"
