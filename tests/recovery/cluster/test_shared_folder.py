"""One node has another folder at the path of the storage, which must be noticed."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray

from fmnist.cluster.nodes import on_this_node
from fmnist.cluster.remote import get_result
from fmnist.cluster.shared_folder import mark_storage
from fmnist.errors import UserError
from fmnist.scoring.pipeline import LabelFileNames
from fmnist.storage.open import open_storage
from fmnist.training.run import train
from tests.recovery.support.runs import CLUSTER, TRAINING
from tests.support.servers.head import environment
from tests.support.waiting import wait

APART = "apart"  # a resource of the node that sees another folder


@pytest.fixture
def unshared(ray_cluster: Any, tmp_path: Path) -> Iterator[Path]:
    """A folder that is empty on a third node, which is the second one with a GPU."""
    if shutil.which("unshare") is None or os.geteuid():
        pytest.skip("a node with a file system of its own takes root and unshare")
    folder, log = tmp_path / "results", tmp_path / "log"
    folder.mkdir()
    ray_command = Path(sys.executable).with_name("ray")
    start = (
        f"mount -t tmpfs none {folder} && exec {ray_command} start --block --disable-usage-stats "
        f"--address={ray_cluster.address} --object-store-memory=100000000 --num-cpus=2 "
        f"--num-gpus=1 --resources='{{\"{APART}\": 1}}'"
    )
    with log.open("w") as output:
        process = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", start],
            env=environment(RAY_raylet_start_wait_time_s="120"),  # a busy machine is slow
            stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    try:
        wait(lambda: APART in ray.cluster_resources() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield folder
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        wait(lambda: APART not in ray.cluster_resources())


def test_a_worker_that_sees_another_folder_ends_the_run_at_once(small, unshared, capfd):
    """Two workers with a GPU each: one of them has to be on that node."""
    cluster = replace(CLUSTER, gpu=True)
    with pytest.raises(UserError, match=f"{unshared} is not the same folder on all nodes"):
        train(small, TRAINING, cluster, open_storage(str(unshared)), command="a test")
    left = [path.name for path in unshared.rglob("*") if path.is_file()]
    assert sorted(left) == [".fmnist-lock", "begun.json"]
    assert "training again" not in capfd.readouterr().out


def test_a_task_that_would_write_labels_into_another_folder_raises(unshared):
    """Ray Data asks for a file's name in the task that writes it, so the error comes from there."""
    with mark_storage(open_storage(str(unshared))) as mark:
        names = LabelFileNames("attempt", mark)
        name = ray.remote(num_cpus=0)(LabelFileNames.get_filename_for_task)
        here = name.options(scheduling_strategy=on_this_node()).remote(names, "write", 0)
        assert ray.get(here).startswith("attempt_write_")
        there = name.options(resources={APART: 0.1}).remote(names, "write", 0)
        with pytest.raises(UserError, match=f"{unshared} is not the same folder on all nodes"):
            get_result(there, "writing")
