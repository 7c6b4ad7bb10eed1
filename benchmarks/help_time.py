"""Measures how long a user waits for the help of each command.

    python -m benchmarks.help_time

Seconds of CPU and of the clock, medians of five processes each. About 20 seconds.
"""

import os
import statistics
import subprocess
import sys
import time

from jobs.command import JOBS

ROUNDS = 5


def main() -> None:
    for job in JOBS:
        measured = [_measure(job) for _ in range(ROUNDS)]
        cpu, clock = (statistics.median(column) for column in zip(*measured, strict=True))
        print(f"{job:<10} {cpu:5.2f} s of CPU {clock:6.2f} s")


def _measure(job: str) -> tuple[float, float]:
    before, begin = os.times(), time.perf_counter()
    command = [sys.executable, "-m", f"jobs.{job}", "--help"]
    subprocess.run(command, check=True, capture_output=True)
    clock, after = time.perf_counter() - begin, os.times()
    used = after.children_user + after.children_system
    return used - before.children_user - before.children_system, clock


if __name__ == "__main__":
    main()
