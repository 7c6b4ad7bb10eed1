"""Credentials are only in the environment: not in output, storage, logs or command lines.

Real jobs run against a real S3 server, in success and in failure, and everything they leave is
searched for the secret key, the access key, and the password of an endpoint.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fmnist.data.export import export_parquet
from fmnist.storage.open import open_storage
from jobs import train
from jobs.support.launch import launch
from tests.support.paths import ROOT
from tests.support.samples import SHAPES, dataset
from tests.support.servers.s3 import SECRET

PASSWORD = "pass-word-of-an-endpoint"
SECRETS = (SECRET, "fake-access-key", PASSWORD)
TRAIN = ("--batch", "8", "--epochs", "1", "--architecture", "dense", "--cpus-per-worker", "1")


@pytest.fixture
def ray_folder() -> Iterator[Path]:
    """A folder for a job's Ray session. Its path is short, as sockets need."""
    folder = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def task(tmp_path: Path) -> str:
    names = ", ".join(f'"{name}"' for name in SHAPES.classes)
    height, width, channels = SHAPES.shape
    file = tmp_path / "shapes.toml"
    sides = f"height = {height}\nwidth = {width}\nchannels = {channels}\n"
    file.write_text(f'name = "shapes"\nclasses = [{names}]\n{sides}')
    return str(file)


def leaks(place: str, data: bytes) -> list[str]:
    return [f"{secret} in {place}" for secret in SECRETS if secret.encode() in data]


def command_lines(over: threading.Event, found: set[bytes]) -> None:
    """Gathers command lines of processes until `over` is set."""
    while not over.wait(0.2):
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                found.add(path.read_bytes())
            except OSError:  # it has ended
                continue


def run(*arguments: str, **environment: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Runs a job; returns it, and the secrets in its output and its command lines."""
    over, lines = threading.Event(), set[bytes]()
    watch = threading.Thread(target=command_lines, args=(over, lines))
    watch.start()
    try:
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env=os.environ | environment,
            capture_output=True,
            text=True,
        )
    finally:
        over.set()
        watch.join()
    printed = leaks("output", (done.stdout + done.stderr).encode())
    return done, printed + [leak for line in lines for leak in leaks(repr(line), line)]


def test_a_job_that_succeeds_leaves_no_credentials(
    s3_uri: str, s3_client: Any, tmp_path: Path, ray_folder: Path, task: str
) -> None:
    export_parquet(dataset(), f"{s3_uri}/data")
    flags = ("--task", task, "--data", f"{s3_uri}/data", "--storage", s3_uri, *TRAIN, "--score")
    done, found = run("jobs.train", *flags, RAY_TMPDIR=str(ray_folder))
    assert done.returncode == 0, done.stderr
    assert found == []
    storage = open_storage(s3_uri)
    keys = storage.keys()
    assert any(key.endswith("report.html") for key in keys)
    assert any(key.endswith("submission.csv") for key in keys)
    assert [leak for key in keys for leak in leaks(key, storage.read(key))] == []
    logs = [path for path in ray_folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert any(path.name == "raylet.out" for path in logs)
    assert [leak for path in logs for leak in leaks(str(path), path.read_bytes())] == []


@pytest.mark.parametrize(
    ("storage", "data", "endpoint"),
    [
        ("s3://no-such-bucket-here/x", "{data}", None),
        ("{storage}", "s3://no-such-bucket-here/x", None),
        ("{storage}", "{data}", f"http://me:{PASSWORD}@127.0.0.1:9"),
        ("{storage}", "{data}", f"http://me:{PASSWORD}@127.0.0.1:port"),
        ("{storage}", "{data}", f"me:{PASSWORD}@nowhere"),
        (f"s3://key:{PASSWORD}@bucket/x", "{data}", None),
        (f"https://me:{PASSWORD}@host/x", "{data}", None),
        ("{storage}", f"s3://key:{PASSWORD}@bucket/x", None),
        ("{storage}", f"https://me:{PASSWORD}@host/x", None),
        ("{folder}", "{data}", f"http://me:{PASSWORD}@127.0.0.1:9"),
        ("{folder}", "{data}", f"me:{PASSWORD}@nowhere"),
    ],
)
def test_a_job_that_fails_tells_no_credentials(
    s3_uri: str,
    tmp_path: Path,
    task: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    storage: str,
    data: str,
    endpoint: str | None,
) -> None:
    export_parquet(dataset(), f"{s3_uri}/data")
    if endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    names = {"storage": s3_uri, "data": f"{s3_uri}/data", "folder": str(tmp_path / "results")}
    places = ("--storage", storage.format(**names), "--data", data.format(**names))
    monkeypatch.setattr(sys, "argv", ["train", *places, "--task", task, *TRAIN])
    with pytest.raises(SystemExit) as end:
        launch(train.parse, train.run)
    printed = capfd.readouterr()
    assert end.value.code == 2
    assert printed.err.count("error: ") == 1 and "Traceback" not in printed.err
    assert leaks("output", (printed.out + printed.err).encode()) == []
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["shapes.toml"]
