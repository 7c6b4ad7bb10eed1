"""Only processes that were given a GPU see one.

Two GPUs are emulated on each node (tests/support/emulated_gpus).
"""

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import ray

from benchmarks import gpu
from fmnist.cluster import remote
from fmnist.comparison.estimate import training_flops
from fmnist.runs.ids import run_folder
from fmnist.runs.published import open_model
from fmnist.storage.open import open_storage
from fmnist.tasks import FASHION
from tests.support import models
from tests.support.servers.cluster import STORE
from tests.support.servers.head import environment, run

PROGRAM = """
import json
{bring}
import tensorflow as tf
from fmnist.training.worker import distributed
visible = tf.config.get_visible_devices("GPU")
growth = [tf.config.experimental.get_memory_growth(gpu) for gpu in visible]
devices = distributed.start_strategy(threads=1, world=1).extended.worker_devices
print(json.dumps([len(tf.config.list_physical_devices("GPU")), growth, devices]))
"""
IMPORT = "from fmnist.models.tensorflow import import_tensorflow; import_tensorflow({})"


def start(bring: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Starts a process that imports TensorFlow and makes a strategy for one worker."""
    program = PROGRAM.format(bring=bring)
    env = os.environ | environment
    return subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True)


def test_a_process_that_was_given_no_gpu_sees_none() -> None:
    physical, growth, devices = json.loads(start(IMPORT.format("")).stdout)
    assert (physical, growth) == (2, [])
    assert [device[-5:] for device in devices] == ["CPU:0"]


def test_a_process_sees_the_gpu_that_it_was_given() -> None:
    done = start(IMPORT.format("gpu=True"), CUDA_VISIBLE_DEVICES="1")
    physical, growth, devices = json.loads(done.stdout)
    assert (physical, growth) == (1, [True])
    assert [device[-5:] for device in devices] == ["GPU:0"]


def test_two_replicas_in_a_worker_are_never_trained() -> None:
    """A strategy would take all GPUs if TensorFlow were imported directly."""
    done = start("import keras")
    assert "assert strategy.num_replicas_in_sync == world" in done.stderr


def test_a_process_that_sees_more_gpus_than_its_own_is_refused() -> None:
    done = start(IMPORT.format("gpu=True"))
    address = ray.util.get_node_ip_address()
    assert f"UserError: node {address}: TensorFlow sees 2 GPUs, expected the one" in done.stderr


@ray.remote
def gpus_after(work: Any, *arguments: Any) -> tuple[int, int]:
    """Returns all GPUs, and those that TensorFlow uses in a process that has run this code."""
    work(*arguments)
    import tensorflow as tf

    return len(tf.config.list_physical_devices("GPU")), len(tf.config.list_logical_devices("GPU"))


@pytest.mark.usefixtures("ray_cluster")
def test_estimates_and_predictions_use_none(tmp_path: Any) -> None:
    storage = open_storage(str(tmp_path / "storage"))
    models.publish_run(storage, tmp_path / "model", models.dense(FASHION), FASHION)
    published = {"r1": open_model(storage, run_folder("r1"), FASHION)}
    images = np.zeros((1, *FASHION.shape), np.uint8)
    assert (
        ray.get(
            [
                gpus_after.remote(training_flops, FASHION, ["dense"]),
                gpus_after.remote(remote._predict, published, images),
            ]
        )
        == [(2, 0)] * 2
    )


def test_a_node_on_which_tensorflow_sees_no_gpu_is_named_at_once(
    ray_cluster: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two ranks are on a node that has GPUs only for Ray; the third one has a GPU."""
    monkeypatch.setenv("EMULATED_GPUS", "0")
    node = ray_cluster.add_node(num_cpus=2, num_gpus=2, object_store_memory=STORE)
    settings = ("--gpu", "--workers", "3", "--cpus-per-worker", "1", "--epochs", "1")
    env = environment(RAY_ADDRESS=ray_cluster.address)
    try:
        command = (sys.executable, "-m", "jobs.train", *settings, "--storage", str(tmp_path))
        done = run(*command, env=env)
    finally:
        ray_cluster.remove_node(node)
    address = ray.util.get_node_ip_address()
    assert done.returncode == 2, done.stderr
    line = done.stderr.splitlines()[-1]
    assert line.startswith(f"error: node {address}: TensorFlow sees 0 GPUs, expected the one")
    assert "requirements-gpu.txt" in line
    assert "Traceback" not in done.stdout + done.stderr
    assert not list(tmp_path.rglob("manifest.json"))


def test_the_benchmark_says_where_there_is_no_gpu() -> None:
    env = environment(RAY_ADDRESS="local", CUDA_VISIBLE_DEVICES="")
    done = run(sys.executable, "-m", "benchmarks.gpu", env=env)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: found no GPU in the cluster, expected")


def test_the_benchmark_tells_which_processes_see_a_gpu(ray_cluster: Any, capsys: Any) -> None:
    gpu.tell_devices()
    told = [line for line in capsys.readouterr().out.splitlines() if "device" in line]
    assert [("GPU:0" in line) for line in told] == [False, False, True], told
