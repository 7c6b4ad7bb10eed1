"""Ray kills a task that is too large for its node each time, and the job ends."""

import subprocess
import sys

from tests.support.paths import ROOT

# This node counts its memory as full at once, so that Ray kills every worker on it.
SCRIPT = """
import time
import ray
from fmnist.errors import UserError
from fmnist.cluster.remote import TASK_RETRIES, bound_retries, get_result
full = {"memory_usage_threshold": 0.001, "memory_monitor_refresh_ms": 100}
ray.init("local", include_dashboard=False, log_to_driver=False, _system_config=full)
bound_retries(1)
task = ray.remote(max_retries=TASK_RETRIES)(lambda: time.sleep(600))
try:
    get_result(task.remote(), "sleeping", attempts=2)
except UserError as error:
    print(error)
"""


def test_a_task_that_is_killed_for_memory_each_time_ends_with_one_error() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True)
    assert "sleeping: a process died 2 times" in done.stdout, done.stdout + done.stderr
    assert "node running low on memory" in done.stdout
