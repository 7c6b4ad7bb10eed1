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

from benchmarks import peak
from benchmarks.data_sets import CPUS, images_of, in_fresh_process, row
from benchmarks.plain_keras import train_plainly, write_arrays
from benchmarks.streaming import CNN, in_fresh_ray
from fmnist.models.architectures import build, flops
from fmnist.tasks import FASHION

ROUNDS = 3


def with_ours(images: int, batch: int, folder: Path) -> None:
    rates = in_fresh_ray(folder, images_of(images), batch, validation=0.1)
    (folder / "answer").write_text(str(rates[-1]))


def measure(images: int, batch: int, folder: Path) -> tuple[float, float]:
    """Images/s of a plain script, and of ours."""
    plain = train_plainly(folder, replace(CNN, batch=batch))
    with tempfile.TemporaryDirectory() as results:
        in_fresh_process(with_ours, images, batch, Path(results))
        return plain, float(Path(results, "answer").read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=256)
    flags = parser.parse_args()
    gigaflops = peak.measure()
    print(f"batch {flags.batch}, {CPUS} cores, {gigaflops:,.0f} GFLOP/s")
    print(row("Keras/s", "ours/s", "ratio"), flush=True)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        write_arrays(Path(folder), images_of(flags.images))
        for _ in range(ROUNDS):
            plain, ours = measure(flags.images, flags.batch, Path(folder))
            found.append((plain, ours))
            print(row(f"{plain:,.0f}", f"{ours:,.0f}", f"{ours / plain:.2f}"), flush=True)
    print(f"median ratio {statistics.median(ours / plain for plain, ours in found):.2f}")
    model = build("cnn", FASHION, activation="relu", precision="float32")
    shares = [rate * flops(model) / 1e9 / gigaflops for _, rate in found]
    print(f"{statistics.median(shares):.0%} of the peak")


if __name__ == "__main__":
    main()
