"""What `ray job submit -- python -m jobs.NAME` runs; thin: flags, Ray, one call, the result."""

import os

# Ray reads this when it is imported. A run has more processes than CPUs, since most of them only
# wait; Ray would warn of that in every job.
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "worker processes have been started on node")
