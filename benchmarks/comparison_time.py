"""Measures how long the report's eight cells take, beside plain Keras scripts one after another.

    python -m benchmarks.comparison_time --images 12000 --epochs 2

`jobs.compare` trains, validates, evaluates and publishes the cells; each script imports Keras,
trains the same network with `fit` on all cores, validates it after each epoch, evaluates it, and
saves it; they run once with the kernels that TensorFlow chooses, and once with those that our code
makes it take. All read the same real images. It compares the seconds. About half an hour a round on
two cores.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks.data_sets import images_of
from benchmarks.paired import Paired, in_turn, markdown
from benchmarks.plain_keras import train_plainly, write_arrays
from fmnist.comparison.grid.cells import COMPARISONS, expand
from fmnist.data.export import export_parquet
from fmnist.run_settings import Training
from fmnist.tasks import FASHION

ROUNDS = 2
IMAGES, EPOCHS = 12_000, 2
BATCH = 256
TEST_IMAGES = 2_000


def write_data(folder: Path, images: int) -> None:
    """The first of the real images, as Parquet and as NumPy's arrays."""
    data = images_of(images, test=TEST_IMAGES)
    export_parquet(data, str(folder / "images"))
    write_arrays(folder, data)


def with_scripts(folder: Path, epochs: int, *, our_kernels: bool) -> float:
    begin = time.perf_counter()
    for cell in expand(COMPARISONS["report"], Training(batch=BATCH, epochs=epochs)):
        train_plainly(folder, cell, our_kernels=our_kernels)
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


def measure(images: int = IMAGES, epochs: int = EPOCHS, rounds: int = ROUNDS) -> list[Paired]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(folder, images)
        scripts = partial(with_scripts, folder, epochs)
        ways = {
            "Keras scripts, s": partial(scripts, our_kernels=False),
            "Keras scripts with the same kernels, s": partial(scripts, our_kernels=True),
            "jobs.compare, s": partial(with_compare, folder, epochs),
        }
        plain, same_kernels, ours = in_turn(ways, rounds).values()
    what = "the report's eight cells beside Keras scripts"
    return [
        Paired(name=what, unit="s", ours=ours, baseline=plain, target="≤ 0.7"),
        Paired(
            name=f"{what} with the same kernels",
            unit="s",
            ours=ours,
            baseline=same_kernels,
            target="",
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    print(markdown(measure(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
