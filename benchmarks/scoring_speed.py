"""Measures how fast a data set is scored from end to end, beside a model that only predicts.

    python -m benchmarks.scoring_speed

Scores Parquet files with the report's CNN, from the first look at the files to the published
predictions and submission, on all cores. In turn with it, one process predicts arrays in memory on
all cores with the batch size that is the fastest here. It prints images/s of both, and the share,
medians of three rounds. Also the seconds that 4 times the images take, which should be 4 times as
many. With the defaults about ten minutes on two cores.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import peak
from benchmarks.data_sets import (
    CPUS,
    in_fresh_process,
    publish_model,
    row,
    write_test_images,
)
from fmnist.models.architectures import build
from fmnist.models.tensorflow import import_tensorflow
from fmnist.runs.published import MODEL, open_model
from fmnist.scoring.inputs import find_inputs
from fmnist.scoring.run import score
from fmnist.storage.manifest import read_manifest
from fmnist.storage.open import open_storage
from fmnist.tasks import FASHION
from jobs.support.connect import start_ray

ROUNDS = 3
BATCHES = (64, 256, 512, 1024, 4096)


def publish_cnn(folder: Path) -> None:
    model = build("cnn", FASHION, activation="relu", precision="float32")
    publish_model(model, folder)


def predict(folder: Path, images: int, answer: Path) -> None:
    """Writes how many images/s a plain function of the model reaches on arrays in memory."""
    import_tensorflow()
    import keras
    import tensorflow as tf

    storage = open_storage(str(folder))
    manifest = read_manifest(storage, "runs/r1")
    assert manifest is not None
    model = keras.saving.load_model(folder / "runs" / "r1" / manifest.files[MODEL].path)
    pixels = np.random.default_rng(0).integers(0, 256, (images, *FASHION.shape), np.uint8)
    run = tf.function(lambda batch: model(batch, training=False), jit_compile=False)
    found = {}
    for batch in BATCHES:
        run(pixels[:batch])
        begin = time.perf_counter()
        for start in range(0, images - batch + 1, batch):
            run(pixels[start : start + batch]).numpy()
        found[batch] = (images // batch * batch) / (time.perf_counter() - begin)
    answer.write_text(str(max(found.values())))


def score_all(folder: Path, data: Path, images: int) -> float:
    """Seconds from the first look at the files to the published result, in a new storage root."""
    with tempfile.TemporaryDirectory() as results:
        begin = time.perf_counter()
        score(
            model=open_model(open_storage(str(folder)), "runs/r1", FASHION),
            inputs=find_inputs(FASHION, str(data)),
            storage=open_storage(results),
        )
        return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=200_000)
    images = parser.parse_args().images
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        in_fresh_process(publish_cnn, folder / "models")
        for times in (1, 4):
            in_fresh_process(write_test_images, times * images, folder / f"data{times}")
        start_ray()
        print(f"{images:,} images, {CPUS} cores, {peak.measure():,.0f} GFLOP/s")
        print(row("predicted/s", "scored/s", "share"), flush=True)
        shares, seconds = [], []
        for _ in range(ROUNDS):
            in_fresh_process(predict, folder / "models", images // 10, folder / "answer")
            plain = float((folder / "answer").read_text())
            seconds.append(score_all(folder / "models", folder / "data1", images))
            shares.append(images / seconds[-1] / plain)
            print(
                row(f"{plain:,.0f}", f"{images / seconds[-1]:,.0f}", f"{shares[-1]:.0%}"),
                flush=True,
            )
        many = score_all(folder / "models", folder / "data4", 4 * images)
    print(f"median share {statistics.median(shares):.0%}")
    print(f"{4 * images:,} images took {many / statistics.median(seconds):.2f} times as long")


if __name__ == "__main__":
    main()
