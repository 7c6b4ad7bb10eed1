"""Fixture: a real MLflow server with SQLite, and the client of a test that asks it."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from fmnist.tracking.mlflow import SETTINGS, TRACKING_URI

PATIENCE = 180.0  # seconds for a start


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Starts the server on loopback; yields its URL."""
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port),
        "--backend-store-uri", f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination", str(folder / "artifacts"), "--workers", "1",
    ]  # fmt: skip
    env = os.environ | SETTINGS | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    log = folder / "log"
    with log.open("w") as output:
        server = subprocess.Popen(
            command, cwd=folder, env=env, stdout=output, stderr=output, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{url}/health", server, log)
        yield url
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@pytest.fixture
def mlflow_settings(monkeypatch: pytest.MonkeyPatch) -> str:
    """Sets the environment as the telling process has it; returns the experiment of this test."""
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    experiment = f"test-{uuid.uuid4().hex[:12]}"
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", experiment)
    return experiment


@pytest.fixture(params=["server", "folder"])
def mlflow_experiment(
    request: pytest.FixtureRequest,
    mlflow_settings: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """Sets the environment to a server or to a folder; returns the experiment of this test."""
    server = request.param == "server"
    place = (tmp_path / "mlruns").as_uri()
    uri = request.getfixturevalue("mlflow_server") if server else place
    monkeypatch.setenv(TRACKING_URI, uri)
    return mlflow_settings


def wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            assert server.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.2)
