"""Measures how fast a data set is scored from end to end, beside a model that only predicts.

    python -m benchmarks.scoring_speed

Scores Parquet files with the report's CNN, from the first look at the files to the published
predictions and submission, on all cores. In turn with it, one process predicts arrays in memory on
all cores with the batch size that is the fastest here. It compares the images/s of both, three
times; then with 5 times the images, which should take 5 times as long. About ten minutes on two
cores.
"""

import argparse
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.data_sets import in_fresh_process, publish_model, write_test_images
from benchmarks.paired import Paired, in_turn, markdown
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
IMAGES, MORE = 200_000, 5
PREDICTED = 20_000  # images in each round, with each size of batch
BATCHES = (64, 256, 512, 1024, 4096)


def publish_cnn(folder: Path) -> None:
    model = build("cnn", FASHION, activation="relu", precision="float32")
    publish_model(model, folder)


def predict(folder: Path) -> float:
    """Images/s that a plain function of the model reaches on arrays in memory."""
    import_tensorflow()
    import keras
    import tensorflow as tf

    storage = open_storage(str(folder))
    manifest = read_manifest(storage, "runs/r1")
    assert manifest is not None
    model = keras.saving.load_model(folder / "runs" / "r1" / manifest.files[MODEL].path)
    pixels = np.random.default_rng(0).integers(0, 256, (PREDICTED, *FASHION.shape), np.uint8)
    run = tf.function(lambda batch: model(batch, training=False), jit_compile=False)
    found = []
    for batch in BATCHES:
        run(pixels[:batch])
        begin = time.perf_counter()
        for start in range(0, PREDICTED - batch + 1, batch):
            run(pixels[start : start + batch]).numpy()
        found.append((PREDICTED // batch * batch) / (time.perf_counter() - begin))
    return max(found)


def score_all(folder: Path, data: Path, images: int) -> float:
    """Images/s from the first look at the files to the published result, in a new storage root."""
    with tempfile.TemporaryDirectory() as results:
        begin = time.perf_counter()
        score(
            model=open_model(open_storage(str(folder)), "runs/r1", FASHION),
            inputs=find_inputs(FASHION, str(data)),
            storage=open_storage(results),
        )
        return images / (time.perf_counter() - begin)


def measure(images: int = IMAGES) -> list[Paired]:
    with tempfile.TemporaryDirectory() as name:
        folder, rows, seconds = Path(name), [], []
        in_fresh_process(publish_cnn, folder / "models")
        start_ray()
        for times, rounds in ((1, ROUNDS), (MORE, 1)):
            data, count = folder / f"data{times}", times * images
            in_fresh_process(write_test_images, count, data)
            ways = {
                "predicted, images/s": partial(in_fresh_process, predict, folder / "models"),
                "scored, images/s": partial(score_all, folder / "models", data, count),
            }
            predicted, scored = in_turn(ways, rounds).values()
            seconds.append(count / statistics.median(scored))
            what = f"scoring {count:,} images beside predicting arrays"
            rows += [
                Paired(name=what, unit="images/s", ours=scored, baseline=predicted, target="≥ 0.9")
            ]
    what = f"seconds for {MORE} times the images beside {MORE} times those for fewer"
    few = [MORE * seconds[0]]
    return [*rows, Paired(name=what, unit="s", ours=seconds[1:], baseline=few, target="≤ 1.1")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=IMAGES)
    print(markdown(measure(parser.parse_args().images)))


if __name__ == "__main__":
    main()
