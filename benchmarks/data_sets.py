"""Things that several benchmarks use: repeated real images, a published model, the machine."""

import multiprocessing
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pyarrow import fs

from fmnist.data.dataset import Dataset
from fmnist.data.formats.parquet import write_part
from fmnist.data.load import load
from fmnist.runs.published import MODEL
from fmnist.storage.manifest import publish
from fmnist.storage.open import open_storage
from fmnist.tasks import FASHION

T = TypeVar("T")
CPUS = len(os.sched_getaffinity(0))


def in_fresh_process(work: Callable[..., T], *arguments: Any) -> T:
    """Returns what work does in a process of its own, whose imports and memory stay there."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def images_of(count: int, *, test: int = 1000) -> Dataset:
    """The first of the real images to train on, and at most so many to test on."""
    whole = load(FASHION)
    assert whole.train is not None and whole.test is not None
    return Dataset(
        task=FASHION,
        source=whole.source,
        train=whole.train.take(np.arange(min(count, len(whole.train)))),
        test=whole.test.take(np.arange(min(count, test))),
    )


def write_test_images(images: int, folder: Path) -> None:
    """Repeats the real test images under new ids into a Parquet data set of 10,000 rows a file."""
    test = load(FASHION).test
    assert test is not None
    for number, start in enumerate(range(0, images, len(test))):
        rows = test.take(np.arange(min(len(test), images - start)))
        piece = replace(rows, ids=rows.ids + start, labels=None)
        write_part(piece, fs.LocalFileSystem(), f"{folder}/test/{number:04}")


def publish_model(model: Any, folder: Path) -> None:
    """Publishes a Keras model of Fashion-MNIST as run `r1` of a storage root."""
    with tempfile.TemporaryDirectory() as name:
        model.save(Path(name, MODEL))
        task = {"name": FASHION.name, "classes": FASHION.classes, "shape": FASHION.shape}
        storage = open_storage(str(folder))
        publish(storage, "runs/r1", Path(name), kind="run", id="r1", details={"task": task})
