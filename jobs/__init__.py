"""Modules that `ray job submit -- python -m jobs.NAME` runs: flags, Ray, one call, the result."""

import os

# Messages that Ray prints into every job although nobody has to act on them: a run has more
# processes than CPUs, since most of them only wait; a process that dies is started again, or the
# job ends with an error. Messages about full memory are still printed. Ray reads this on import.
QUIET = (
    "worker processes have been started on node",
    "A worker died or was killed while executing a task by an unexpected system error",
    "retries remaining, so the task will be retried",
)
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "|".join(QUIET))
