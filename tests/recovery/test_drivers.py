"""The driver of a training job dies or is told to end, and the job is started again."""

import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from fmnist.errors import UserError
from fmnist.exports import export_parquet
from fmnist.runs import begin, check_resumed
from fmnist.storage import open_storage
from tests.head import ROOT, environment
from tests.recovery.runs import CLUSTER, TRAINING, checkpoints, folder, outcome, run, wait


@pytest.fixture(scope="module")
def command(small, tmp_path_factory):
    """The same run as a job, but for its storage."""
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


def until_a_checkpoint(storage, small, story):
    """And a little into the next epoch; `story` tells what became of the job if there is none."""
    try:
        wait(lambda: "00001" in checkpoints(storage, small))
    except AssertionError as error:
        raise AssertionError(story()) from error
    time.sleep(0.3)


def test_the_driver_is_killed(ray_cluster, command, small, undisturbed, storage_uri, tmp_path):
    """The second one takes over at once, since it sees that the first is dead."""
    env = environment(RAY_ADDRESS=ray_cluster.address)
    whole = (sys.executable, "-m", *command, "--storage", storage_uri)
    log = tmp_path / "log"
    with log.open("w") as output:
        driver = subprocess.Popen(whole, cwd=ROOT, env=env, stdout=output, stderr=output)
    until_a_checkpoint(open_storage(storage_uri), small, log.read_text)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    again = subprocess.run(whole, cwd=ROOT, env=env, capture_output=True, text=True)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "going on after epoch" in again.stdout
    assert outcome(storage_uri, small) == undisturbed[1]


def test_a_submitted_job_is_stopped(head, command, small, undisturbed, storage_uri):
    """`ray job stop` ends it within 30 s, with a checkpoint within the epoch if there is time."""
    name = f"training-{time.time_ns()}"
    options = ("--no-wait", "--submission-id", name)
    submitted = head.submit(*command, "--storage", storage_uri, options=options)
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    storage = open_storage(storage_uri)
    until_a_checkpoint(storage, small, lambda: head.job("logs", name).stdout)
    begin = time.monotonic()
    stopped = head.job("stop", name)
    seconds = time.monotonic() - begin
    assert stopped.returncode == 0 and "was stopped" in stopped.stdout, stopped.stdout
    print(f"stopped after {seconds:.1f} s with the checkpoints {checkpoints(storage, small)}")
    assert seconds < 30
    assert not storage.exists(f"{folder(small)}/manifest.json")
    run(small, storage_uri)
    assert outcome(storage_uri, small) == undisturbed[1]


def test_a_run_whose_data_have_changed_is_not_resumed(small, storage_uri):
    """Asked to go on with a run, a job refuses other data, other settings and unknown runs."""
    storage = open_storage(storage_uri)
    begin(small, TRAINING, storage)
    run_id = folder(small).rpartition("/")[2]
    check_resumed(run_id, small, TRAINING, CLUSTER, storage)
    changed = replace(small, test=small.train)
    with pytest.raises(UserError) as found:
        check_resumed(run_id, changed, TRAINING, CLUSTER, storage)
    for part_ in ("the data at samples has changed", small.fingerprint, changed.fingerprint):
        assert part_ in str(found.value)
    with pytest.raises(UserError, match="epochs is 9, but the run was begun with 3"):
        check_resumed(run_id, small, replace(TRAINING, epochs=9), CLUSTER, storage)
    with pytest.raises(UserError, match="found no run 'other', expected one that was begun"):
        check_resumed("other", small, TRAINING, CLUSTER, storage)
