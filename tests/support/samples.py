"""Small data sets for tests, in memory and as files."""

import gzip
import struct
from pathlib import Path

import numpy as np

from fmnist.data.dataset import Dataset, Examples
from fmnist.tasks import Task

SHAPES = Task(name="shapes", classes=("circle", "square", "star", "dot"), shape=(12, 20, 3))


def examples(task: Task, count: int, seed: int = 0) -> Examples:
    """Makes random images with ids that are neither sorted nor without gaps."""
    random = np.random.default_rng(seed)
    return Examples(
        ids=random.permutation(count) * 3 + 5,
        images=random.integers(0, 256, (count, *task.shape), np.uint8),
        labels=random.integers(0, len(task.classes), count),
    )


def dataset(task: Task = SHAPES, train: int = 40, test: int = 15) -> Dataset:
    """Makes a data set of random images."""
    return Dataset(
        task=task, train=examples(task, train, 1), test=examples(task, test, 2), source="samples"
    )


def idx_bytes(array: np.ndarray) -> bytes:
    """Makes an IDX file of unsigned bytes."""
    magic = 0x0800 + array.ndim
    header = struct.pack(f">{1 + array.ndim}I", magic, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def write_idx(folder: Path, data: Dataset, *, zipped: bool = False) -> None:
    """Writes the four files of a data set with images of one channel."""
    for prefix, part in (("train", data.train), ("t10k", data.test)):
        assert part is not None and part.labels is not None
        for name, array in (
            (f"{prefix}-images-idx3-ubyte", part.images[..., 0]),
            (f"{prefix}-labels-idx1-ubyte", part.labels),
        ):
            raw = idx_bytes(array)
            path = folder / (f"{name}.gz" if zipped else name)
            path.write_bytes(gzip.compress(raw) if zipped else raw)
