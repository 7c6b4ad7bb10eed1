"""The driver of a training job dies or gets a signal, and the job is started again."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from fmnist.data.export import export_parquet
from fmnist.errors import UserError
from fmnist.runs.ids import check_resumed, write_begun
from fmnist.storage.open import open_storage
from jobs.support.launch import TERMINATED
from tests.recovery.support.runs import (
    CLUSTER,
    TRAINING,
    Disturbed,
    checkpoints,
    folder,
    outcome,
    pause,
    run,
    workers,
)
from tests.support.servers.cluster import processes
from tests.support.servers.head import ROOT, environment
from tests.support.waiting import wait


@pytest.fixture(scope="module")
def command(small, tmp_path_factory):
    """Returns the command of a job for the same run with another storage."""
    folder = tmp_path_factory.mktemp("data")
    data, task = folder / "small", folder / "shapes.toml"
    export_parquet(small, str(data))
    height, width, channels = small.task.shape
    task.write_text(
        f"name = {small.task.name!r}\nclasses = {list(small.task.classes)}\n"
        f"height = {height}\nwidth = {width}\nchannels = {channels}\n"
    )
    flags = {
        "--task": task,
        "--data": data,
        "--batch": TRAINING.batch,
        "--epochs": TRAINING.epochs,
        "--learning-rate": TRAINING.learning_rate,
        "--schedule": TRAINING.schedule,
        "--augmentation": TRAINING.augmentation,
        "--activation": TRAINING.activation,
        "--precision": TRAINING.precision,
        "--workers": TRAINING.workers,
        "--cpus-per-worker": CLUSTER.cpus_per_worker,
        "--keep-checkpoints": CLUSTER.keep_checkpoints,
    }
    return ("jobs.train", *(str(part) for flag in flags.items() for part in flag))


def test_a_submitted_jobs_driver_is_killed_and_then_the_job_is_stopped(
    head, command, small, undisturbed, storage_uri
):
    """Submitted again after `kill -9`, the job takes over at once, since it sees that the first is
    dead. `ray job stop` ends it within 30 s, with a checkpoint within the epoch.
    """
    storage = open_storage(storage_uri)

    def submitted():
        name = f"training-{time.time_ns()}"
        options = ("--no-wait", "--submission-id", name)
        done = head.submit(*command, "--storage", storage_uri, options=options)
        assert done.returncode == 0, done.stdout + done.stderr
        return name

    def until(found, name):
        """Waits until this is found; if it is not, the error has the job's log."""
        try:
            wait(found)
        except AssertionError as error:
            raise AssertionError(head.job("logs", name).stdout) from error

    first = submitted()
    until(lambda: "00001" in checkpoints(storage, small), first)
    os.kill(driver(storage_uri), signal.SIGKILL)
    second = submitted()
    until(lambda: "00002" in checkpoints(storage, small), second)
    with ThreadPoolExecutor(1) as threads:
        stopping = threads.submit(head.job, "stop", second)
        # The command takes seconds to begin. The workers wait for it, or they would end meanwhile.
        pause(head.processes("RayTrainWorker"), lambda: "stopping as soon as" in head.log(second))
        begin = time.monotonic()
        stopped = stopping.result()
    assert stopped.returncode == 0 and "was stopped" in stopped.stdout, stopped.stdout
    assert time.monotonic() - begin < 30, "Ray kills what is left then"
    assert "00002" < checkpoints(storage, small)[-1] < "00004"
    log = head.job("logs", second).stdout
    assert "going on after epoch 1" in log and "waiting for another job" not in log
    assert storage.read_version(f"{folder(small)}/manifest.json") is None
    run(small, storage_uri)
    assert outcome(storage_uri, small) == undisturbed[1]


def test_the_progress_actor_is_killed_and_the_job_can_still_be_told_to_end(
    ray_cluster, command, small, storage_uri, tmp_path
):
    """SIGTERM comes while the actor is dead. The driver repeats it to the restarted actor."""
    log, storage = tmp_path / "log", open_storage(storage_uri)

    def monitor():
        """Returns the actor's process once a checkpoint exists: then the actor has some state."""
        found = processes(ray_cluster.list_all_nodes(), "RunMonitor")
        return "00001" in checkpoints(storage, small) and found

    with log.open("w") as output:
        job = subprocess.Popen(
            [sys.executable, "-m", *command, "--storage", storage_uri],
            cwd=ROOT,
            env=environment(RAY_ADDRESS=ray_cluster.address),
            stdout=output,
            stderr=output,
        )
        (process,) = wait(monitor)
        nodes = ray_cluster.list_all_nodes()
        os.kill(process, signal.SIGKILL)
        job.send_signal(signal.SIGTERM)
        # The workers wait until the new actor can be told, or they would end meanwhile.
        pause(workers(ray_cluster), lambda: set(processes(nodes, "RunMonitor")) - {process})
        code = job.wait(60)
    assert code == TERMINATED, log.read_text()
    assert "stopped; the same command goes on from here" in log.read_text()
    assert "Traceback" not in log.read_text()
    assert checkpoints(storage, small)[-1] > "00001"
    assert storage.read_version(f"{folder(small)}/manifest.json") is None


def test_the_progress_actor_is_killed_and_progress_is_shown_again(
    ray_cluster, small, undisturbed, storage_uri, capfd
):
    disturbed = Disturbed(small, storage_uri)
    disturbed.wait_for("00001")
    (process,) = processes(ray_cluster.list_all_nodes(), "RunMonitor")
    os.kill(process, signal.SIGKILL)
    disturbed.end()
    assert outcome(storage_uri, small) == undisturbed[1]
    out = capfd.readouterr().out
    assert out.count("the process that keeps the progress died and was replaced") == 1
    assert "epoch 4/4" in out


def driver(storage_uri):
    """Returns the driver's process of the job with that storage, not the shell that started it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            words = (process / "cmdline").read_bytes().decode().split("\0")
            if "jobs.train" in words and storage_uri in words:
                found.append(int(process.name))
    (only,) = found
    return only


def test_a_run_whose_data_have_changed_is_not_resumed(small, storage_uri):
    """A job with --resume refuses other data, other settings and unknown runs."""
    storage = open_storage(storage_uri)
    write_begun(small, TRAINING, storage)
    run_id = folder(small).rpartition("/")[2]
    check_resumed(run_id, small, TRAINING, CLUSTER, storage)
    changed = replace(small, test=small.train)
    with pytest.raises(UserError) as found:
        check_resumed(run_id, changed, TRAINING, CLUSTER, storage)
    for part_ in ("the data at samples has changed", small.fingerprint, changed.fingerprint):
        assert part_ in str(found.value)
    with pytest.raises(
        UserError, match=f"epochs is 9, but the run was begun with {TRAINING.epochs}"
    ):
        check_resumed(run_id, small, replace(TRAINING, epochs=9), CLUSTER, storage)
    with pytest.raises(UserError, match="found no run 'other', expected one that was begun"):
        check_resumed("other", small, TRAINING, CLUSTER, storage)
