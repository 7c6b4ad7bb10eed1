"""Measures how fast image files are decoded into shards, beside Pillow alone on all cores.

    python -m benchmarks.ingestion

Writes the 70,000 images of Fashion-MNIST as PNG files, and then in turn lets a pool of processes do
no more than read and decode them, and lets Ray Data ingest them: images/s of each, three times, and
the share that ingestion reaches, medians. Ray has been started before. A few minutes on two cores.
"""

import argparse
import io
import multiprocessing
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import peak
from benchmarks.data_sets import CPUS, row
from fmnist.data.load import load
from fmnist.data.locations import locate
from fmnist.ingest.plan import Ingestion, find_images, plan_ingestion
from fmnist.ingest.run import ingest
from fmnist.storage.open import open_storage
from fmnist.tasks import FASHION
from jobs.support.connect import start_ray

ROUNDS = 3
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


def with_pillow(paths: list[Path]) -> float:
    with multiprocessing.get_context("spawn").Pool(CPUS) as pool:
        pool.map(decode, paths[:CPUS])  # the processes are there
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=70_000)
    images = parser.parse_args().images
    start_ray()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "files")
        paths = write_files(folder, images)
        print(f"{images:,} PNG files, {CPUS} cores, {peak.measure():,.0f} GFLOP/s")
        print(row("Pillow/s", "ingested/s", "share"), flush=True)
        with_ingestion(folder, images)  # Ray's first processes are started
        shares = []
        for _ in range(ROUNDS):
            plain, ours = with_pillow(paths), with_ingestion(folder, images)
            shares.append(ours / plain)
            print(row(f"{plain:,.0f}", f"{ours:,.0f}", f"{ours / plain:.0%}"), flush=True)
    print(f"median share {statistics.median(shares):.0%}")


if __name__ == "__main__":
    main()
