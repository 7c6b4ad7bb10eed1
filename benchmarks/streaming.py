"""Measures training from shards against training in memory, and how much memory a worker takes.

    python -m benchmarks.streaming
    python -m benchmarks.streaming --images 600 --large 2000 --rounds 1 --batch 64  # does it work?

Trains the CNN for two epochs in memory, from shards in a folder and from shards on an S3 server
(moto's, on loopback), in turn and with a cache that is empty at first, and prints the images/s of
each epoch and, of the second epochs, the median ratio to memory in the same round. Then trains a
tiny network from `--images` and from `--large` generated images, and prints the peak of the
worker's own memory (RssAnon) and of its share of all memory (PSS), in MiB. About 40 minutes and
10 GB of temporary disk on two cores.
"""

import argparse
import io
import logging
import os
import statistics
import tempfile
import threading
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from pyarrow import fs

from benchmarks.data_sets import images_of, in_fresh_process
from benchmarks.scoring_memory import family
from fmnist.data.dataset import Dataset, Examples
from fmnist.data.export import export_parquet
from fmnist.data.formats.parquet import write_part
from fmnist.data.locations import locate
from fmnist.data.streaming.cache import FOLDER
from fmnist.data.streaming.dataset import ShardedDataset, open_shards
from fmnist.run_settings import Cluster, Training
from fmnist.runs.ids import run_folder
from fmnist.runs.published import read_history
from fmnist.storage.open import open_storage
from fmnist.tasks import FASHION
from fmnist.training.run import train
from tests.support.servers import s3

SAMPLE = 0.2  # seconds
CNN = Training(batch=256, epochs=2, learning_rate=2e-3, validation=0)


def measure_speed(flags: argparse.Namespace, folder: Path) -> None:
    """Prints a line for each run, and the ratios."""
    with s3.serving() as url, pytest.MonkeyPatch.context() as patch:
        s3.set_environment(patch, url)
        import boto3

        boto3.session.Session().client("s3").create_bucket(Bucket="streaming")
        data = images_of(flags.images)
        places = {"folder": str(folder / "shards"), "s3": "s3://streaming/shards"}
        for place in places.values():
            export_parquet(data, place)
        rates: dict[str, list[float]] = {}
        print(f"{'ingest':>12}{'images/s, 1st epoch':>24}{'2nd epoch':>12}", flush=True)
        for number in range(flags.rounds):
            sources: dict[str, Callable[[], Dataset | ShardedDataset]] = {
                "memory": lambda: data,
                **{
                    name: lambda place=place: open_shards(locate(place), FASHION)  # type: ignore[misc]
                    for name, place in places.items()
                },
            }
            for name, source in sources.items():
                rows = in_fresh_ray(folder / f"{name}{number}", source(), flags.batch)
                rates.setdefault(name, []).append(rows[-1])
                print(f"{name:>12}{rows[0]:>24,.0f}{rows[-1]:>12,.0f}", flush=True)
    for name in places:
        ratios = [a / b for a, b in zip(rates[name], rates["memory"], strict=True)]
        print(
            f"{name}: {statistics.median(ratios):.1%} of memory's, median of {len(ratios)} rounds"
        )


def in_fresh_ray(
    folder: Path, dataset: Dataset | ShardedDataset, batch: int, **changes: Any
) -> list[float]:
    """Trains in a Ray of its own with an empty cache; returns the images/s of each epoch."""
    os.environ[FOLDER] = str(folder / "cache")
    ray.init(
        address="local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
    )
    try:
        storage = open_storage(str(folder / "results"))
        ingest = "memory" if isinstance(dataset, Dataset) else "stream"
        settings = vars(CNN) | {"batch": batch, "ingest": ingest} | changes
        training = Training(**settings)
        with redirect_stdout(io.StringIO()):  # the table is all that it prints
            manifest = train(dataset, training, Cluster(), storage, command="benchmarks.streaming")
        rows = read_history(storage, run_folder(manifest.id), manifest)
    finally:
        ray.shutdown()
    return [row["images_per_second"] for row in rows]


class WorkerPeak(threading.Thread):
    """Samples the memory of the training worker, until `over` is set."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.over = threading.Event()
        self.own = self.share = 0.0  # MiB

    def run(self) -> None:
        while not self.over.wait(SAMPLE):
            for process in family(os.getpid()):
                try:
                    if b"RayTrainWorker" in Path(f"/proc/{process}/cmdline").read_bytes():
                        self.own = max(self.own, field(process, "status", "RssAnon"))
                        self.share = max(self.share, field(process, "smaps_rollup", "Pss"))
                except OSError:  # it has ended
                    continue


def field(process: int, file: str, name: str) -> float:
    """A size in one of a process's files, in MiB."""
    lines = Path(f"/proc/{process}/{file}").read_text().splitlines()
    values = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
    return int(values[0]) / 1024 if values else 0.0


def write_generated(count: int, folder: str) -> None:
    """Random images in which something can be learned, a shard at a time."""
    random = np.random.default_rng(0)
    for part, total in (("train", count), ("test", 1000)):
        for number, start in enumerate(range(0, total, 10_000)):
            rows = min(10_000, total - start)
            labels = random.integers(0, 10, rows)
            images = random.integers(0, 64, (rows, *FASHION.shape), np.uint8)
            images[np.arange(rows), labels * 2] += 128
            piece = Examples(ids=np.arange(start, start + rows), images=images, labels=labels)
            write_part(piece, fs.LocalFileSystem(), f"{folder}/{part}/{number:04}")


def measure_memory(count: int, batch: int, folder: Path) -> None:
    """Prints the peaks of a worker that streams so many images."""
    in_fresh_process(write_generated, count, str(folder / "shards"))
    peak = WorkerPeak()
    peak.start()
    dataset = open_shards(locate(str(folder / "shards")), FASHION)
    rates = in_fresh_ray(folder, dataset, batch, architecture="dense", epochs=1, validation=0.1)
    peak.over.set()
    peak.join()
    print(f"{count:>12,}{peak.own:>12,.0f}{peak.share:>12,.0f}{rates[0]:>12,.0f}", flush=True)


def run_fresh(work: Callable[..., None], *arguments: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        in_fresh_process(work, *arguments, Path(folder))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--large", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=256)
    flags = parser.parse_args()
    run_fresh(measure_speed, flags)
    print(f"{'images':>12}{'own MiB':>12}{'PSS MiB':>12}{'images/s':>12}", flush=True)
    for count in (flags.images, flags.large):
        run_fresh(measure_memory, count, flags.batch)


if __name__ == "__main__":
    main()
