"""Modules that `ray job submit -- python -m jobs.NAME` runs: flags, Ray, one call, the result."""

import os

# What Ray prints into every job, whatever it was told about logs, and what nobody has to act on: a
# run has more processes than CPUs, since most of them only wait; and what dies is started again, or
# ends the job with a message of its own. That memory ran out stays. Ray reads this when imported.
QUIET = (
    "worker processes have been started on node",
    "A worker died or was killed while executing a task by an unexpected system error",
    "retries remaining, so the task will be retried",
)
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "|".join(QUIET))
