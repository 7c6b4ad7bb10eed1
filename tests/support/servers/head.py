"""Fixture: a Ray head with a job server. Also runs jobs as processes without it."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.servers.cluster import children

Done = subprocess.CompletedProcess[str]


def environment(**more: str) -> dict[str, str]:
    """Returns the environment of a process in which this Python comes first, as on a cluster."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return os.environ | {"PATH": path} | more


def run(*command: str, env: dict[str, str] | None = None) -> Done:
    return subprocess.run(
        command, cwd=ROOT, env=env or environment(), capture_output=True, text=True
    )


def printed_id(output: str, kind: str) -> str:
    """Returns the id of the result that a job printed: `run …` or `predictions …`."""
    lines = [line for line in output.splitlines() if line.startswith(f"{kind} ")]
    (line,) = [line for line in lines if line.endswith(" finished")]
    return line.split()[1]


class Head:
    """Submits jobs to a head as a user does with `ray job`."""

    def __init__(self, address: str, env: dict[str, str], process: int, folder: Path) -> None:
        self._address, self._env, self._process, self._folder = address, env, process, folder

    def submit(self, *command: str, options: tuple[str, ...] = ()) -> Done:
        """Runs a module with its flags, to its end unless the options say otherwise."""
        to = ("--working-dir", ".", *options, "--", "python", "-m", *command)
        return self.job("submit", *to)

    def job(self, action: str, *arguments: str) -> Done:
        command = ("ray", "job", action, "--address", self._address, *arguments)
        return run(*command, env=self._env)

    def log(self, submission: str) -> str:
        """What a job has printed, at once: `ray job logs` takes seconds to start."""
        (path,) = self._folder.glob(f"session_2*/logs/job-driver-{submission}.log")
        return path.read_text()

    def processes(self, name: str) -> list[int]:
        """Returns Ray's processes whose title contains this text."""
        return children(set(children({self._process}, "/raylet/raylet")), name)


@pytest.fixture(scope="session")
def head(s3_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    """Starts a head with 4 logical CPUs, access to the S3 server, and token authentication."""
    log = tmp_path_factory.mktemp("head") / "log"
    folder = tempfile.mkdtemp(prefix="ray-")  # names of sockets must be short
    address = f"http://127.0.0.1:{_free_port()}"
    env = environment(
        RAY_AUTH_MODE="token",
        RAY_AUTH_TOKEN=secrets.token_hex(32),
        RAY_JOB_STOP_WAIT_TIME_S="30",  # as in cluster.yaml
    )
    command = [
        "ray", "start", "--head", "--block", "--num-cpus=4", f"--port={_free_port()}",
        "--include-dashboard=true", "--dashboard-host=127.0.0.1",
        f"--dashboard-port={address.rpartition(':')[2]}",
        f"--dashboard-agent-listen-port={_free_port()}", "--object-store-memory=500000000",
        "--disable-usage-stats",
        # Ray sends a job to the cluster that was started last among those with the same folder.
        f"--temp-dir={folder}",
    ]  # fmt: skip
    with log.open("w") as output:
        process = subprocess.Popen(
            command, env=env, stdout=output, stderr=output, start_new_session=True
        )
    found = Head(address, env, process.pid, Path(folder))
    try:
        while found.job("list").returncode:
            assert process.poll() is None, log.read_text()
        yield found
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
