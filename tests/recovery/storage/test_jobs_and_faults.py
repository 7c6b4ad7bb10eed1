"""Whole jobs whose drivers and workers reach S3 through a faulty proxy."""

import json
import subprocess
import sys
import time

import pytest

from fmnist.storage.manifest import read_manifest
from fmnist.storage.open import open_storage
from jobs.support.config import IN_RAY_JOB
from tests.support.paths import ROOT
from tests.support.servers.faulty import (
    DENIED,
    SLOW_DOWN,
    TOO_MANY,
    UNAVAILABLE,
    WRITES,
    cut,
    faulty,
    hang,
    lose,
    reset,
)  # fmt: skip
from tests.support.servers.head import environment, printed_id

TRAIN = (
    "jobs.train", "--batch", "32", "--epochs", "3", "--cpus-per-worker", "1",
    "--architecture", "dense", "--max-failures", "0", "--keep-checkpoints", "9",
)  # fmt: skip
GET, PUT = frozenset({"GET"}), frozenset({"PUT", "POST"})


@pytest.fixture
def shaken(s3_server):
    with faulty(s3_server) as proxy:
        yield proxy


@pytest.fixture
def run(ray_cluster, real_images):
    """Runs a job whose processes all find S3 at `url`; returns what it printed."""

    def run(url, *command, fails=False):
        variables = {"AWS_ENDPOINT_URL": url, "AWS_MAX_ATTEMPTS": "2" if fails else "8"}
        job = json.dumps({"runtime_env": {"env_vars": variables}})  # as `ray job submit` does it
        env = environment(RAY_ADDRESS=ray_cluster.address, **variables, **{IN_RAY_JOB: job})
        begin = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", *command, "--data", real_images],
            cwd=ROOT, env=env, capture_output=True, text=True,
        )  # fmt: skip
        print(command[0], round(time.monotonic() - begin, 1), "s")
        assert done.returncode == (2 if fails else 0), done.stdout + done.stderr
        return done.stderr if fails else done.stdout

    return run


def content(uri, kind):
    """Returns digests of the only result of this kind, without files that have times in them.

    A model's file has a time in it, so the id of predictions that are made with it differs, too.
    """
    storage = open_storage(uri)
    (key,) = [
        key for key in storage.keys(kind) if key.endswith("manifest.json") and key.count("/") == 2
    ]
    manifest = read_manifest(storage, key.removesuffix("/manifest.json"))
    names = ["metrics.json"] if kind == "runs" else ["submission.csv"]
    found = {name: manifest.files[name].sha256 for name in names}
    for key in storage.keys(kind):
        if key.endswith(".npz"):
            found[key.split("/")[3]] = storage.digest(key).sha256
    return found


def test_jobs_whose_storage_fails_for_a_while_and_for_good(run, shaken, s3_server, bucket):
    calm, rough = f"s3://{bucket}/calm", f"s3://{bucket}/rough"
    trained = printed_id(run(s3_server, *TRAIN, "--storage", calm), "run")
    run(s3_server, "jobs.score", "--run", trained, "--storage", calm, "--actors", "1")

    shaken.fail(DENIED, methods=WRITES, key="/checkpoints/00002")
    message = run(shaken.url, *TRAIN, "--storage", rough, fails=True)
    assert message.count("error: ") == 1 and "Traceback" not in message
    assert f"{rough}/runs/{trained}/checkpoints/00002" in message and "no permission" in message
    assert shaken.heal()
    storage = open_storage(rough)
    assert read_manifest(storage, f"runs/{trained}") is None
    assert {key.split("/")[3] for key in storage.keys(f"runs/{trained}/checkpoints")} == {"00001"}

    for fault in (UNAVAILABLE, SLOW_DOWN, TOO_MANY, reset, lose, hang(1)):
        shaken.fail(fault, times=1, methods=PUT)
        shaken.fail(fault, times=1, methods=GET, after=2)
    shaken.fail(cut, times=3, methods=GET, key="checkpoints")
    output = run(shaken.url, *TRAIN, "--storage", rough)
    assert "epoch 1/3" not in output and "epoch 2/3" in output
    assert shaken.heal() >= 10
    assert content(rough, "runs") == content(calm, "runs")

    scoring = ("jobs.score", "--run", trained, "--storage", rough, "--actors", "1")
    shaken.fail(UNAVAILABLE, key="/labels/", methods=WRITES)
    message = run(shaken.url, *scoring, fails=True)
    assert message.count("error: ") == 1 and "Traceback" not in message and rough in message
    assert shaken.heal() and not content_of_predictions(storage)

    for fault in (UNAVAILABLE, SLOW_DOWN, TOO_MANY, reset, hang(1)):
        shaken.fail(fault, times=1, key="/labels/", methods=PUT)
    run(shaken.url, *scoring)
    assert shaken.heal() == 5
    assert content(rough, "predictions") == content(calm, "predictions")


def content_of_predictions(storage):
    """Returns the predictions as a reader sees them."""
    return [key for key in storage.keys("predictions") if key.endswith("manifest.json")]
