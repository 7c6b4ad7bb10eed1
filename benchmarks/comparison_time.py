"""Measures how long the report's eight cells take, beside plain Keras scripts one after another.

    python -m benchmarks.comparison_time --images 12000 --epochs 2

`jobs.compare` trains, validates, evaluates and publishes the cells; each script imports Keras,
trains the same network with `fit` on all cores, validates it after each epoch, evaluates it, and
saves it. Both read the same real images, and use the same kernels. It prints the seconds of both
in turn, and the median ratio. About half an hour on two cores.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import peak
from benchmarks.data_sets import CPUS, images_of, row
from benchmarks.plain_keras import train_plainly, write_arrays
from fmnist.comparison.grid.cells import COMPARISONS, expand
from fmnist.data.export import export_parquet
from fmnist.run_settings import Training
from fmnist.tasks import FASHION

ROUNDS = 2
BATCH = 256
TEST_IMAGES = 2_000


def write_data(folder: Path, images: int) -> None:
    """The first of the real images, as Parquet and as NumPy's arrays."""
    data = images_of(images, test=TEST_IMAGES)
    export_parquet(data, str(folder / "images"))
    write_arrays(folder, data)


def with_scripts(folder: Path, epochs: int) -> float:
    begin = time.perf_counter()
    for cell in expand(COMPARISONS["report"], Training(batch=BATCH, epochs=epochs)):
        train_plainly(folder, cell)
    return time.perf_counter() - begin


def with_compare(folder: Path, epochs: int) -> float:
    with tempfile.TemporaryDirectory() as storage:
        flags = {
            "--comparison": "report",
            "--task": FASHION.name,
            "--data": folder / "images",
            "--storage": storage,
            "--batch": BATCH,
            "--epochs": epochs,
        }
        arguments = [str(each) for flag in flags.items() for each in flag]
        begin = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "jobs.compare", *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=12_000)
    parser.add_argument("--epochs", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(folder, arguments.images)
        print(f"{arguments.images:,} images, {arguments.epochs} epochs, {CPUS} cores")
        print(f"{peak.measure():,.0f} GFLOP/s")
        print(row("scripts", "jobs.compare", "ratio"), flush=True)
        ratios = []
        for _ in range(ROUNDS):
            plain, ours = (run(folder, arguments.epochs) for run in (with_scripts, with_compare))
            ratios.append(ours / plain)
            print(row(f"{plain:,.0f} s", f"{ours:,.0f} s", f"{ratios[-1]:.2f}"), flush=True)
    print(f"median ratio {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
