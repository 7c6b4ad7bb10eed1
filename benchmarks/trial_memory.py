"""Measures how much memory a trial of a sweep takes on the head, beside its workers.

    python -m benchmarks.trial_memory

Compares small networks, several at once, in a Ray of its own, and prints what Ray's processes take
at the worst moment, by kind, in MiB a trial: their proportional share (PSS), in which what they
have in common counts once. `fmnist.comparison.sweep.TRIAL_MEMORY` goes by the sum. A minute on
two cores.
"""

import os
import re
import tempfile
import threading
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import ray

from benchmarks.scoring_memory import family
from fmnist.comparison.run import compare, run_specs
from fmnist.data.dataset import Dataset
from fmnist.data.load import load
from fmnist.run_settings import Cluster, Training
from fmnist.storage.open import open_storage
from fmnist.tasks import FASHION

TRIALS = 3
SAMPLE = 0.5  # seconds
ELSEWHERE = ("ray::RayTrainWorker", "ray::IDLE")  # a worker is paid for by its CPUs


class Worst(threading.Thread):
    """Samples all that this process started, until `over` is set; keeps the largest sum."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.over = threading.Event()
        self.mebibytes: dict[str, float] = {}

    def run(self) -> None:
        while not self.over.wait(SAMPLE):
            now: dict[str, float] = defaultdict(float)
            for process in family(os.getpid()):
                title, share = _share(process)
                if title.startswith("ray::") and not title.startswith(ELSEWHERE):
                    now[title] += share
            if sum(now.values()) > sum(self.mebibytes.values()):
                self.mebibytes = now


def _share(process: int) -> tuple[str, float]:
    """Title and MiB of a process; nothing of one that has ended."""
    folder = Path(f"/proc/{process}")
    try:
        title = (folder / "cmdline").read_bytes().decode(errors="replace").partition(".")[0]
        found = re.search(r"^Pss:\s+(\d+) kB", (folder / "smaps_rollup").read_text(), re.M)
    except OSError:
        return "", 0
    return title.strip("\0 "), int(found[1]) / 1024 if found else 0


def main() -> None:
    data = load(FASHION)
    train = data.train.take(np.arange(300))
    small = Dataset(task=data.task, source="a part", train=train, test=None)
    base = Training(architecture="dense", batch=10, epochs=10, learning_rate=1e-3)
    runs = [replace(base, seed=seed) for seed in range(TRIALS)]
    ray.init(address="local", num_cpus=TRIALS, include_dashboard=False, log_to_driver=False)
    worst = Worst()
    with tempfile.TemporaryDirectory() as results:
        one = Cluster(cpus_per_worker=1)
        jobs = run_specs(small, runs, one, open_storage(results), command="benchmark")
        worst.start()
        compare(jobs, name="memory")
        worst.over.set()
        worst.join()
    for title, mebibytes in sorted(worst.mebibytes.items(), key=lambda each: -each[1]):
        print(f"{title:<36} {mebibytes / TRIALS:6.0f}")
    print(f"{'together':<36} {sum(worst.mebibytes.values()) / TRIALS:6.0f}")


if __name__ == "__main__":
    main()
