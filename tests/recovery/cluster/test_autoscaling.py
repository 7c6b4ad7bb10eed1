"""Jobs on an autoscaling cluster like that of cluster.yaml, which starts with only a head.

Ray's own `AutoscalingCluster` begins with `ray stop --force`, which ends every other Ray of this
machine, and needs a file that Ray's wheel leaves out. So the head is started here, with the same
provider of nodes that are processes, and the autoscaler that `ray up` starts.
"""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import ray
import yaml
from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID
from ray.autoscaler._private.util import prepare_config

from fmnist.data.dataset import Dataset
from fmnist.data.export import export_parquet
from fmnist.scoring.predictions import SUBMISSION
from fmnist.storage.manifest import read_manifest
from fmnist.storage.open import open_storage
from tests.support.models import dense, publish_run
from tests.support.servers.cluster import STORE
from tests.support.servers.head import ROOT, environment, run

PROVIDER = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"


def shape(address: str) -> dict:
    """Returns cluster.yaml with two small nodes of each kind, as processes of this machine."""
    config = prepare_config(yaml.safe_load((ROOT / "cluster.yaml").read_text()))
    kinds = config["available_node_types"]
    for name, kind in kinds.items():
        kind["node_config"] = {}
        if name != config["head_node_type"]:
            kind["max_workers"] = 2
            kind["resources"] = {key: 1 for key in kind["resources"]}
        kind["resources"]["object_store_memory"] = STORE
    # The provider knows the head by this name.
    kinds["ray.head.default"] = kinds.pop(config["head_node_type"])
    provider = {
        "type": "external",
        "module": PROVIDER,
        "gcs_address": address,
        "head_node_id": FAKE_HEAD_NODE_ID,
        "launch_multiple": True,
        "disable_node_updaters": True,
    }
    nothing_to_set_up = {
        key: type(value)()
        for key, value in config.items()
        if key.endswith("_commands") or key in ("file_mounts", "auth")
    }
    names = {"head_node_type": "ray.head.default", "provider": provider}
    return config | nothing_to_set_up | names


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Starts a head without CPUs and its autoscaler; yields the environment of a job on it."""
    folder = tmp_path_factory.mktemp("autoscaling")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    address = f"{ray.util.get_node_ip_address()}:{port}"
    config = folder / "cluster.json"
    config.write_text(json.dumps(shape(address)))
    env = environment(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    provider = dict(
        RAY_FAKE_CLUSTER="1",
        RAY_enable_autoscaler_v2="1",
        RAY_CLOUD_INSTANCE_ID=FAKE_HEAD_NODE_ID,
        RAY_OVERRIDE_NODE_ID_FOR_TESTING=FAKE_HEAD_NODE_ID,
        AUTOSCALER_UPDATE_INTERVAL_S="1",
    )
    command = [
        "ray", "start", "--head", "--block", "--num-cpus=0",
        f"--port={port}", f"--autoscaling-config={config}", "--include-dashboard=false",
        f"--object-store-memory={STORE}", "--disable-usage-stats",
    ]  # fmt: skip
    log = folder / "log"
    with log.open("w") as output:
        head = subprocess.Popen(
            command, env=env | provider, stdout=output, stderr=output, start_new_session=True
        )
    try:
        while run("ray", "status", "--address", address, env=env).returncode:
            assert head.poll() is None, log.read_text()
        yield env | {"RAY_ADDRESS": address}
    finally:
        os.killpg(head.pid, signal.SIGKILL)
        head.wait()


@pytest.fixture(scope="module")
def data(fashion, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "small"
    parts = {"train": fashion.train.take(np.arange(96)), "test": fashion.test.take(np.arange(41))}
    export_parquet(Dataset(task=fashion.task, source="", **parts), str(folder))
    return folder


@pytest.fixture
def job(cluster, data, tmp_path):
    """Runs a job that connects to the cluster."""

    def job(name, *flags):
        to = ("--data", str(data), "--storage", str(tmp_path / "results"))
        return run(sys.executable, "-m", f"jobs.{name}", *to, *flags, env=cluster)

    return job


def test_what_the_cluster_can_never_have_is_refused_at_once(job):
    refused = job("train", "--gpu", "--workers", "3", "--batch", "32")
    assert refused.returncode == 2, refused.stderr
    assert "found room for 2 workers of 1 CPUs and 1 GPUs each, expected 3" in refused.stderr
    assert "grows by up to 8 nodes" in refused.stderr


def test_scoring_brings_its_nodes(job, fashion, tmp_path):
    storage = open_storage(str(tmp_path / "results"))
    publish_run(storage, tmp_path / "model", dense(fashion.task), fashion.task)
    scored = job("score", "--run", "r1")
    assert scored.returncode == 0, scored.stdout + scored.stderr
    assert "found room for 0 of 1 task" in scored.stderr
    assert "waiting for the cluster to grow" in scored.stderr
    (submission,) = tmp_path.rglob(SUBMISSION)
    assert len(Path(submission).read_text().splitlines()) == 42


def test_training_brings_its_nodes(job, tmp_path):
    settings = ("--architecture", "dense", "--batch", "32", "--epochs", "1")
    trained = job("train", "--gpu", "--workers", "2", *settings)
    assert trained.returncode == 0, trained.stdout + trained.stderr
    assert "found room for 0 of 2 workers; waiting for the cluster to grow" in trained.stderr
    (folder,) = (tmp_path / "results/runs").iterdir()
    manifest = read_manifest(open_storage(str(tmp_path / "results")), f"runs/{folder.name}")
    assert manifest.details["hardware"]["workers"] == 2
