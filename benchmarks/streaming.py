"""Measures training from shards against training in memory, and how much memory a worker takes.

    python -m benchmarks.streaming
    python -m benchmarks.streaming --images 600 --large 2000 --rounds 1 --batch 64  # does it work?

Trains the CNN for two epochs in memory, from shards in a folder and from shards on an S3 server
(moto's, on loopback), in turn and with a cache that is empty at first, and compares the images/s of
the second epochs. Then trains a tiny network from `--images` and from `--large` generated images,
and compares the peaks of the worker's own memory (RssAnon) and of its share of all memory (PSS).
About 40 minutes and 10 GB of temporary disk on two cores.
"""

import argparse
import io
import logging
import os
import tempfile
import threading
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from pyarrow import fs

from benchmarks.data_sets import T, images_of, in_fresh_process
from benchmarks.paired import Paired, in_turn, markdown
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

IMAGES, LARGE, ROUNDS = 60_000, 2_000_000, 3
SAMPLE = 0.2  # seconds
CNN = Training(batch=256, epochs=2, learning_rate=2e-3, validation=0)


def measure_speed(images: int, rounds: int, batch: int, folder: Path) -> list[Paired]:
    """Trains from each place in turn, with an empty cache."""
    with s3.serving() as url, pytest.MonkeyPatch.context() as patch:
        s3.set_environment(patch, url)
        import boto3

        boto3.session.Session().client("s3").create_bucket(Bucket="streaming")
        data = images_of(images)
        places = {"folder": str(folder / "shards"), "s3": "s3://streaming/shards"}
        for place in places.values():
            export_parquet(data, place)

        def rate(place: str | None) -> float:
            source = data if place is None else open_shards(locate(place), FASHION)
            return train_in_fresh_ray(source, batch=batch)[-1]

        ways = {
            f"{name}, images/s": partial(rate, place)
            for name, place in {"memory": None, **places}.items()
        }
        found = in_turn(ways, rounds)
    memory, local, remote = found.values()
    return [
        Paired(
            name=f"training from shards {where} beside memory",
            unit="images/s",
            ours=ours,
            baseline=memory,
            target=target,
        )
        for where, ours, target in (
            ("in a folder", local, "≥ 0.9"),
            ("on an S3 server", remote, "≥ 0.8"),
        )
    ]


def train_in_fresh_ray(dataset: Dataset | ShardedDataset, **settings: Any) -> list[float]:
    """Trains in a Ray of its own with an empty cache; returns the images/s of each epoch."""
    ingest = "memory" if isinstance(dataset, Dataset) else "stream"
    training = replace(CNN, ingest=ingest, **settings)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ[FOLDER] = str(folder / "cache")
        ray.init(
            address="local",
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        try:
            storage, command = open_storage(str(folder / "results")), "benchmarks.streaming"
            with redirect_stdout(io.StringIO()):  # the table is all that it prints
                manifest = train(dataset, training, Cluster(), storage, command=command)
            epochs = read_history(storage, run_folder(manifest.id), manifest)
        finally:
            ray.shutdown()
    return [epoch["images_per_second"] for epoch in epochs]


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


def measure_memory(count: int, batch: int, folder: Path) -> tuple[float, float]:
    """Peaks in MiB of a worker that streams so many images: its own memory, and its share."""
    in_fresh_process(write_generated, count, str(folder / "shards"))
    peak = WorkerPeak()
    peak.start()
    dataset = open_shards(locate(str(folder / "shards")), FASHION)
    train_in_fresh_ray(dataset, batch=batch, architecture="dense", epochs=1, validation=0.1)
    peak.over.set()
    peak.join()
    print(f"{count:,} images: own {peak.own:,.0f} MiB, PSS {peak.share:,.0f} MiB", flush=True)
    return peak.own, peak.share


def in_new_folder(work: Callable[..., T], *arguments: Any) -> T:
    with tempfile.TemporaryDirectory() as folder:
        return in_fresh_process(work, *arguments, Path(folder))


def measure(
    images: int = IMAGES, large: int = LARGE, rounds: int = ROUNDS, batch: int = CNN.batch
) -> list[Paired]:
    rows = in_new_folder(measure_speed, images, rounds, batch)
    few, many = (in_new_folder(measure_memory, count, batch) for count in (images, large))
    what = f"peak of a worker, {large:,} images beside {images:,}"
    return rows + [
        Paired(name=f"{what}, {kind}", unit="MiB", ours=[most], baseline=[least], target="≤ 1.1")
        for kind, least, most in zip(("own", "PSS"), few, many, strict=True)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--large", type=int, default=LARGE)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--batch", type=int, default=CNN.batch)
    print(markdown(measure(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
