"""Fixtures: Ceph's object gateway on loopback, an S3 server that is neither Amazon's nor moto's.

A cluster of one monitor and one disk in a sparse file, without authentication between them; it
starts in half a minute. Debian: `make ceph`.
"""

import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest

from tests.support.servers.s3 import set_environment

PROGRAMS = ("ceph", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")
# Both are visible in radosgw-admin's arguments, beside tests that look there for others.
KEY = "fake-key-of-ceph"
PASSWORD = "fake-secret-of-ceph"
CONF = """
[global]
fsid = {fsid}
mon host = [v1:127.0.0.1:{mon}]
mon initial members = a
public addr = 127.0.0.1
ms bind msgr2 = false
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd crush chooseleaf type = 0
mon allow pool size one = true
mon data avail crit = 1
run dir = {folder}
admin socket = {folder}/$name.$pid.asok
log file = {folder}/$name.log
mon data = {folder}/mon
osd data = {folder}/osd
osd objectstore = bluestore
bluestore block size = 3221225472
osd memory target = 939524096
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:{gateway}
rgw data = {folder}/rgw
"""


class Ceph:
    """The processes of a Ceph cluster; `url` is the address of its gateway."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._fsid = folder, str(uuid.uuid4())
        self._processes: list[subprocess.Popen[bytes]] = []
        mon, gateway = _free_ports(2)
        self._mon, self.url = f"[v1:127.0.0.1:{mon}]", f"http://127.0.0.1:{gateway}"
        conf = CONF.format(fsid=self._fsid, folder=folder, mon=mon, gateway=gateway)
        (folder / "ceph.conf").write_text(conf)
        for name in ("mon", "osd", "rgw"):
            (folder / name).mkdir()

    def start(self) -> None:
        fsid = ("--fsid", self._fsid)
        self._run("monmaptool", "--create", "--addv", "a", self._mon, *fsid, "monmap")
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", "monmap")
        self._serve("ceph-mon", "-i", "a")
        disk = str(uuid.uuid4())
        number = self._run("ceph", "osd", "new", disk).strip()
        self._run("ceph-osd", "-i", number, "--mkfs", "--osd-uuid", disk)
        self._serve("ceph-osd", "-i", number)
        self._serve("radosgw", "-n", "client.rgw")
        self._wait(lambda: _answers(self.url))
        user = ("--uid=tests", "--display-name=tests")
        keys = (f"--access-key={KEY}", f"--secret-key={PASSWORD}")
        self._run("radosgw-admin", "user", "create", *user, *keys)

    def stop(self) -> None:
        for process in reversed(self._processes):
            process.kill()
            process.wait()
        shutil.rmtree(self._folder / "osd", ignore_errors=True)  # its logs stay, as pytest's do

    def _run(self, *command: str) -> str:
        conf = () if command[0] == "monmaptool" else ("-c", "ceph.conf")
        done = subprocess.run(
            [command[0], *conf, *command[1:]],
            cwd=self._folder, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout

    def _serve(self, *command: str) -> None:
        """Starts a daemon in the foreground, as a child that can be ended."""
        with (self._folder / f"{command[0]}.out").open("w") as out:
            process = subprocess.Popen(
                [command[0], "-f", "-c", "ceph.conf", *command[1:]],
                cwd=self._folder, stdout=out, stderr=out,
            )  # fmt: skip
        self._processes.append(process)

    def _wait(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + 150
        while not condition():
            assert time.monotonic() < end, f"Ceph does not answer; its logs: {self._folder}"
            assert all(process.poll() is None for process in self._processes), "Ceph has ended"
            time.sleep(0.2)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


@pytest.fixture(scope="session")
def ceph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ceph]:
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"Ceph is not installed (`make ceph`): found no {', '.join(missing)}")
    found = _started(tmp_path_factory)
    yield found
    found.stop()


def _started(folders: pytest.TempPathFactory) -> Ceph:
    """Starts a cluster, with up to three tries: on a busy machine, its disk may fail to start."""
    for attempt in range(3):
        found = Ceph(folders.mktemp("ceph"))
        try:
            found.start()
            return found
        except BaseException as error:
            found.stop()
            if attempt == 2 or not isinstance(error, AssertionError):
                raise
    raise AssertionError


@pytest.fixture
def ceph_uri(ceph: Ceph, monkeypatch: pytest.MonkeyPatch) -> str:
    """A storage root in a new bucket; the environment of this process leads to it.

    The session of boto3 is a new one: the default session keeps the credentials that it found
    first, which may be those of the other S3 server.
    """
    set_environment(monkeypatch, ceph.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", PASSWORD)
    name = f"bucket-{uuid.uuid4().hex}"
    boto3.session.Session().client("s3").create_bucket(Bucket=name)
    return f"s3://{name}/results"
