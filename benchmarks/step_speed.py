"""Measures how fast the report's CNN trains, beside plain Keras, and with two workers beside one.

    python -m benchmarks.step_speed --batch 1024

Trains for two epochs on one worker with all cores and on two that share them, in turn with `fit` of
a plain Keras script, all in float32, and compares the images/s of the second epochs. The script
runs with the kernels that TensorFlow chooses, and with those that our code makes it take. About ten
minutes for each batch size on two cores.
"""

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks import peak
from benchmarks.data_sets import images_of, in_fresh_process
from benchmarks.paired import Paired, in_turn, markdown
from benchmarks.plain_keras import train_plainly, write_arrays
from benchmarks.streaming import CNN, train_in_fresh_ray
from fmnist.models.architectures import build, flops
from fmnist.tasks import FASHION

ROUNDS = 3
IMAGES = 20_000
BATCHES = (256, 1024)


def with_workers(images: int, batch: int, workers: int) -> float:
    """Images/s of workers that share the cores evenly."""
    return train_in_fresh_ray(images_of(images), batch=batch, workers=workers, validation=0.1)[-1]


def cnn_flops() -> float:
    """Operations of a step for one image."""
    return float(flops(build("cnn", FASHION, activation="relu", precision="float32")))


def measure(images: int = IMAGES, batches: Sequence[int] = BATCHES) -> list[Paired]:
    rows, each, gigaflops = [], in_fresh_process(cnn_flops), peak.measure()
    for batch in batches:
        with tempfile.TemporaryDirectory() as folder:
            write_arrays(Path(folder), images_of(images))
            plain = partial(train_plainly, Path(folder), replace(CNN, batch=batch))
            ours = partial(in_fresh_process, with_workers, images, batch)
            ways = {
                "Keras, images/s": plain,
                "Keras with the same kernels, images/s": partial(plain, our_kernels=True),
                "one worker, images/s": partial(ours, 1),
                "two workers, images/s": partial(ours, 2),
            }
            keras, same_kernels, one, two = in_turn(ways, ROUNDS).values()
        rows += [
            Paired(
                name=f"training, batch {batch}: {what}",
                unit="images/s",
                ours=measured,
                baseline=baseline,
                target=target,
                of_peak=statistics.median(measured) * each / 1e9 / gigaflops,
            )
            for what, measured, baseline, target in (
                ("one worker beside Keras' fit", one, keras, "≥ 1.25"),
                ("one worker beside Keras' fit with the same kernels", one, same_kernels, ""),
                ("two workers beside one, on the same cores", two, one, "≥ 0.95"),
            )
        ]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--batch", type=int, nargs="+", default=BATCHES)
    flags = parser.parse_args()
    print(markdown(measure(flags.images, flags.batch)))


if __name__ == "__main__":
    main()
