"""Measures how fast the report's CNN trains, beside plain Keras.

    python -m benchmarks.step_speed --batch 1024

Trains for two epochs on one worker with all cores, in turn with `fit` of a plain Keras script, both
in float32, and prints the images/s of each second epoch, and the median ratio. About five minutes
on two cores.
"""

import argparse
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks import peak
from benchmarks.data_sets import CPUS, in_fresh_process, row
from benchmarks.plain_keras import train_plainly, write_arrays
from benchmarks.streaming import CNN, in_fresh_ray
from fmnist.data.load import load
from fmnist.models.architectures import build, flops
from fmnist.tasks import FASHION

ROUNDS = 3


def with_ours(images: int, batch: int, folder: Path) -> None:
    whole = load(FASHION)
    assert whole.train is not None and whole.test is not None
    taken = {"train": whole.train.take(np.arange(images)), "test": whole.test.take(np.arange(1000))}
    rates = in_fresh_ray(folder, replace(whole, **taken), batch, validation=0.1)
    (folder / "answer").write_text(str(rates[-1]))


def measure(images: int, batch: int) -> tuple[float, float]:
    """Images/s of a plain script, and of ours."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole = load(FASHION)
        assert whole.train is not None and whole.test is not None
        write_arrays(folder, whole.train.take(np.arange(images)), whole.test.take(np.arange(1000)))
        plain = train_plainly(folder, replace(CNN, batch=batch))
        in_fresh_process(with_ours, images, batch, folder)
        return plain, float((folder / "answer").read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=256)
    flags = parser.parse_args()
    gigaflops = peak.measure()
    print(f"batch {flags.batch}, {CPUS} cores, {gigaflops:,.0f} GFLOP/s")
    print(row("Keras/s", "ours/s", "ratio"), flush=True)
    found = []
    for _ in range(ROUNDS):
        plain, ours = measure(flags.images, flags.batch)
        found.append((plain, ours))
        print(row(f"{plain:,.0f}", f"{ours:,.0f}", f"{ours / plain:.2f}"), flush=True)
    print(f"median ratio {statistics.median(ours / plain for plain, ours in found):.2f}")
    model = build("cnn", FASHION, activation="relu", precision="float32")
    shares = [rate * flops(model) / 1e9 / gigaflops for _, rate in found]
    print(f"{statistics.median(shares):.0%} of the peak")


if __name__ == "__main__":
    main()
