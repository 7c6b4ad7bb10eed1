"""Measures how fast image files are decoded into shards, beside Pillow alone on all cores.

    python -m benchmarks.ingestion

Writes the 70,000 images of Fashion-MNIST as PNG files, and then in turn lets a pool of processes do
no more than read and decode them, and lets tasks of Ray ingest them, and compares the images/s. Ray
has been started before. A few minutes on two cores.
"""

import argparse
import io
import multiprocessing
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.data_sets import CPUS
from benchmarks.paired import Paired, in_turn, markdown
from fmnist.data.load import load
from fmnist.data.locations import locate
from fmnist.ingest.plan import Ingestion, find_images, plan_ingestion
from fmnist.ingest.run import ingest
from fmnist.storage.open import open_storage
from fmnist.tasks import FASHION
from jobs.support.connect import start_ray

ROUNDS = 3
IMAGES = 70_000
CHUNK = 500  # files that a process of the pool gets at once


def write_files(folder: Path, images: int) -> list[Path]:
    """Writes PNG files of the training images, and if they do not suffice of the test images."""
    dataset = load(FASHION)
    assert dataset.train is not None and dataset.test is not None
    pixels = np.concatenate([dataset.train.images, dataset.test.images])[:images, :, :, 0]
    folder.mkdir()
    paths = [folder / f"{number:05}.png" for number in range(len(pixels))]
    for path, image in zip(paths, pixels, strict=True):
        Image.fromarray(image).save(path)
    return paths


def decode(path: Path) -> int:
    """Reads and decodes one file as plainly as Pillow can."""
    with Image.open(io.BytesIO(path.read_bytes())) as image:
        return int(np.asarray(image).size)


def wait(ready: Any) -> None:
    """Waits for the other processes; that this function was found has imported this module."""
    ready.wait()


def with_pillow(paths: list[Path]) -> float:
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(CPUS + 1)
    with context.Pool(CPUS, initializer=wait, initargs=(ready,)) as pool:
        ready.wait()
        begin = time.perf_counter()
        pool.map(decode, paths, chunksize=CHUNK)
        return len(paths) / (time.perf_counter() - begin)


def with_ingestion(folder: Path, images: int) -> float:
    with tempfile.TemporaryDirectory() as results:
        begin = time.perf_counter()
        location = locate(str(folder))
        source = find_images(location)
        assert source is not None
        plan = plan_ingestion(source.to_score(), Ingestion(task=FASHION))
        ingest(plan, open_storage(results))
        return images / (time.perf_counter() - begin)


def measure(images: int = IMAGES) -> list[Paired]:
    start_ray()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "files")
        paths = write_files(folder, images)
        with_ingestion(folder, images)  # Ray's first processes are started
        ways = {
            "Pillow, images/s": partial(with_pillow, paths),
            "ingested, images/s": partial(with_ingestion, folder, len(paths)),
        }
        pillow, ours = in_turn(ways, ROUNDS).values()
    what = "ingesting PNG files beside Pillow alone"
    return [Paired(name=what, unit="images/s", ours=ours, baseline=pillow, target="≥ 0.8")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=IMAGES)
    print(markdown(measure(parser.parse_args().images)))


if __name__ == "__main__":
    main()
