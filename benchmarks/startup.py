"""Measures how long a user waits from the command to the first step, and from the last to the end.

    python -m benchmarks.startup [OTHER_CHECKOUT]

`jobs.train` trains a small dense network for an epoch, three times; medians of the seconds of each
stage, as a job's log names them. Stages of workers are looked at twice a second. Given another
checkout, its command runs in turn with this one's. One to three minutes for each checkout.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.paired import Paired, markdown

ROUNDS = 3
IMAGES = 60_000
# The log names all stages at once, not only those that last two seconds.
JOB = """
import sys
import fmnist.stages
from jobs.support.launch import launch
from jobs.train import parse, run
fmnist.stages.SHOW_AFTER = 0.0
sys.argv = ["train", *sys.argv[1:]]
launch(parse, run)
"""
FLAGS = ("--architecture", "dense", "--batch", "500", "--epochs", "1", "--validation", "0")
ALONE, FIRST = "(to import TensorFlow and Keras alone)", "= from the command to the first step"
IMPORT = "import tensorflow, keras"
Seconds = dict[str, float]


def measure(*others: Path) -> list[Paired]:
    own = Path(__file__).parents[1]
    checkouts = {str(folder): folder for folder in (own, *others)}
    measured: dict[str, list[Seconds]] = {name: [] for name in checkouts}
    for _ in range(ROUNDS):
        for name, folder in checkouts.items():
            measured[name].append(_measure(folder))
    for name, rounds in measured.items():
        print(name)
        for stage in rounds[0]:
            seconds = [each[stage] for each in rounds if stage in each]
            print(f"  {statistics.median(seconds):6.1f} s  {stage}")
    imports, first = ([each[stage] for each in measured[str(own)]] for stage in (ALONE, FIRST))
    what = "from the command to the first step, beside importing TensorFlow"
    return [Paired(name=what, unit="s", ours=first, baseline=imports, target="≤ 4")]


def _measure(folder: Path) -> Seconds:
    found: Seconds = {}
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", IMPORT], check=True, capture_output=True)
    found[ALONE] = time.perf_counter() - begin
    with tempfile.TemporaryDirectory() as storage:
        command = [sys.executable, "-c", JOB, *FLAGS, "--storage", storage]
        begin = last = time.perf_counter()
        stage = "importing the job"
        with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as job:
            assert job.stdout is not None
            for line in job.stdout:
                now = time.perf_counter()
                if line.startswith("epoch 1/1"):
                    trained = IMAGES / float(line.split()[-2].replace(",", ""))
                    found[stage] = now - trained - last
                    found[FIRST] = now - trained - begin
                    last, stage = now, "from the last step to the end of the job"
                elif line.endswith(" …\n") and not line.startswith("evaluating"):
                    found[stage] = found.get(stage, 0.0) + now - last
                    last, stage = now, line.removesuffix(" …\n")
            job.wait()
        found[stage] = time.perf_counter() - last
        assert job.returncode == 0
    return found


if __name__ == "__main__":
    print(markdown(measure(*map(Path, sys.argv[1:]))))
