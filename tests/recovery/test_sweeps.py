"""The driver of a comparison dies, and the job is started again."""

import signal
import subprocess
import sys
import time

import pytest

from tests.head import ROOT, environment


@pytest.mark.long
def test_a_sweep_whose_driver_is_killed_goes_on(real, tmp_path):
    """Killed with one run published, which is not run again."""
    results, log = tmp_path / "results", tmp_path / "log"
    command = [
        sys.executable, "-m", "jobs.compare", "--task", "fashion", "--data", real,
        "--storage", str(results), "--architecture", "dense", "--activation", "relu,tanh",
        "--epochs", "2", "--batch", "50",
    ]  # fmt: skip
    alone = environment(RAY_ADDRESS="local")
    with log.open("w") as output:
        driver = subprocess.Popen(command, cwd=ROOT, env=alone, stdout=output, stderr=output)
    while not (published := list(results.glob("runs/*/manifest.json"))):
        assert driver.poll() is None, log.read_text()
        time.sleep(0.05)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    before = {path: path.stat().st_mtime_ns for path in published}
    again = subprocess.run(command, cwd=ROOT, env=alone, capture_output=True, text=True)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "2 of 2 runs" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in published} == before
