"""Measures how much memory a training job's driver takes to load 300,000 images and to share them.

    python -m benchmarks.loading_memory

Repeats the real training images under new ids into a Parquet data set (0.2 GB of temporary disk),
then prints the peak of the process in MiB after imports, after loading, and after the images were
split and put into Ray's object store, whose shared memory counts as far as the process has touched
it. About a minute on two cores.
"""

import resource
import tempfile
from dataclasses import replace

import numpy as np
import ray
from pyarrow import fs

from benchmarks.data_sets import in_fresh_process
from fmnist.data.formats.parquet import write_part
from fmnist.data.load import load
from fmnist.tasks import FASHION
from fmnist.training.splits import put_splits

TIMES = 5


def write_images(folder: str) -> None:
    train = load(FASHION).train
    assert train is not None
    for number in range(TIMES):
        piece = replace(train, ids=train.ids + number * len(train))
        write_part(piece, fs.LocalFileSystem(), f"{folder}/train/{number}")


def measure(folder: str) -> None:
    ray.init(
        address="local", include_dashboard=False, log_to_driver=False, object_store_memory=2**30
    )
    tell("imports")
    dataset = load(FASHION, folder)
    assert dataset.train is not None
    tell(f"loading {dataset.train.images.nbytes >> 20} MiB of images")
    splits = put_splits(dataset, 0.1)
    tell(f"sharing {', '.join(splits)}")
    assert np.shape(splits["train"].open()[0])[0] == splits["train"].size


def tell(stage: str) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"{peak:6,} MiB after {stage}", flush=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        in_fresh_process(write_images, folder)
        in_fresh_process(measure, folder)


if __name__ == "__main__":
    main()
