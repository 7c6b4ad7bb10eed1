"""Measures how long a worker imports TensorFlow: as Python does it, and as this package does.

    python -m benchmarks.import_time

Both in turn, each time in a process of its own that has what a Ray Train worker has before: seconds
of CPU and of the clock, medians of seven. About a minute.
"""

import json
import statistics
import subprocess
import sys

ROUNDS = 7
WAYS = {
    "as Python does it": "",
    "without garbage": (
        "from fmnist.models.tensorflow import import_tensorflow; import_tensorflow()"
    ),
}
PROCESS = """
import json, time
import fmnist.training.controller
cpu, clock = time.process_time(), time.perf_counter()
{way}
import fmnist.training.worker.main
print(json.dumps([time.process_time() - cpu, time.perf_counter() - clock]))
"""


def main() -> None:
    seconds: dict[str, list[list[float]]] = {name: [] for name in WAYS}
    for _ in range(ROUNDS):
        for name, way in WAYS.items():
            command = [sys.executable, "-c", PROCESS.format(way=way)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            seconds[name].append(json.loads(done.stdout.splitlines()[-1]))
    for name, measured in seconds.items():
        cpu, clock = (statistics.median(column) for column in zip(*measured, strict=True))
        print(f"{name:<18} {cpu:5.2f} s of CPU {clock:6.2f} s")


if __name__ == "__main__":
    main()
