"""The splits of a data set as the workers of a run get them: in memory, or in shards."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import ray

from fmnist.data.dataset import Dataset, Examples, check_room, labelled, split_rows
from fmnist.data.streaming.cache import ShardCache, default_folder
from fmnist.data.streaming.dataset import ShardedDataset, ShardedPart
from fmnist.data.streaming.images import StreamedImages
from fmnist.data.streaming.order import WINDOW
from fmnist.drift.reference import sample_positions
from fmnist.errors import UserError
from fmnist.run_settings import parse_cache_size
from fmnist.training import batches
from fmnist.training.batches import Batch, TrainingOrder

# Shards that a rank has open: two windows, since the next one is read ahead, and some to spare.
TRAINING_SHARDS = 3 * WINDOW
EVALUATION_SHARDS = 4
MOST_STREAMED = 100_000  # training images that a streamed run is evaluated on


@dataclass(frozen=True, kw_only=True)
class SharedSplit:
    """One split in Ray's object store, where all workers of a node share it without a copy."""

    images: ray.ObjectRef  # uint8 (n, height, width, channels)
    labels: ray.ObjectRef  # int64 (n,)
    size: int

    def training_batches(self, order: TrainingOrder) -> Iterator[Batch]:
        """The endless batches of a rank, in the order of an array in memory."""
        return batches.training_batches(*self.open(), order)

    def evaluation_batches(self, *, batch: int, rank: int, world: int) -> Iterator[Batch]:
        """The endless batches of a rank, all in their order."""
        return batches.evaluation_batches(*self.open(), batch=batch, rank=rank, world=world)

    def evaluated(self) -> np.ndarray:
        """Positions of the images that a finished run is evaluated on: all."""
        return np.arange(self.size)

    def open(self) -> tuple[np.ndarray, np.ndarray]:
        """Images and labels, read-only."""
        return ray.get(self.images), ray.get(self.labels)


@dataclass(frozen=True, kw_only=True)
class StreamedSplit:
    """One split in shards; only its labels are in Ray's object store, a byte or a few for each."""

    part: ShardedPart  # without its labels
    chosen: ray.ObjectRef  # bool (rows of the part,): those of this split
    labels: ray.ObjectRef  # (n,) in a small type
    size: int
    cache_size: int
    sampled: bool  # only a sample of it is evaluated, if it is large

    def training_batches(self, order: TrainingOrder) -> Iterator[Batch]:
        """The endless batches of a rank, in the order of shards."""
        images = self._images(TRAINING_SHARDS)
        return batches.streamed_batches(images, ray.get(self.labels), order)

    def evaluation_batches(self, *, batch: int, rank: int, world: int) -> Iterator[Batch]:
        """The endless batches of a rank, all in their order."""
        return batches.evaluation_batches(*self.open(), batch=batch, rank=rank, world=world)

    def evaluated(self) -> np.ndarray:
        """Positions of the images that a finished run is evaluated on, ascending."""
        return sample_positions(self.size, MOST_STREAMED if self.sampled else self.size)

    def open(self) -> tuple[StreamedImages, np.ndarray]:
        """Images, which may be read in pieces, and labels."""
        return self._images(EVALUATION_SHARDS), ray.get(self.labels)

    def _images(self, keep: int) -> StreamedImages:
        cache = ShardCache(default_folder(), self.cache_size)
        return StreamedImages(self.part, ray.get(self.chosen), cache, keep=keep)


Split = SharedSplit | StreamedSplit
Splits = Mapping[str, Split]


def in_memory(split: Split) -> SharedSplit:
    """The split of a job that never streams."""
    assert isinstance(split, SharedSplit), "`put_splits` made it"
    return split


def make_splits(dataset: Dataset | ShardedDataset, validation: float, cache_size: str) -> Splits:
    """Makes the splits that have labels; those of shards keep to a cache of that size.

    `validation` is the share of the training examples that is held out, the same examples in
    shards and in memory.
    """
    if isinstance(dataset, Dataset):
        return put_splits(dataset, validation)
    size = parse_cache_size(cache_size)
    _check_cache(dataset, size)
    train, test = dataset.train, dataset.test
    assert train is not None, "count_labelled has been called"
    rows, held_out = split_rows(len(train), validation)
    splits = {"train": _stream(train, rows, size, sampled=True)}
    if held_out is not None:
        splits["validation"] = _stream(train, held_out, size)
    if test is not None and test.labels is not None:
        splits["test"] = _stream(test, np.arange(len(test)), size)
    return splits


def put_splits(dataset: Dataset, validation: float) -> dict[str, SharedSplit]:
    """Puts the splits that have labels into Ray's object store.

    `validation` is the share of the training examples that is held out. Raises UserError if the
    copies do not fit into memory.
    """
    train, test = labelled(dataset), dataset.test
    rows, held_out = split_rows(len(train), validation)
    loaded = train.images.nbytes + (test.images.nbytes if test else 0)
    copied = train.images[:1].nbytes * len(rows) if held_out is not None else 0
    check_room(2 * loaded + copied, f"{dataset.source}: its images, their split and shared copies")
    # `take` copies, so the splits are made one after the other: the copy of one is freed once it is
    # in the object store.
    if held_out is None:
        splits = {"train": _put(train)}
    else:
        splits = {"train": _put(train.take(rows)), "validation": _put(train.take(held_out))}
    if test is not None and test.labels is not None:
        splits["test"] = _put(test)
    return splits


def _put(split: Examples) -> SharedSplit:
    return SharedSplit(images=ray.put(split.images), labels=ray.put(split.labels), size=len(split))


def _stream(
    part: ShardedPart, rows: np.ndarray, cache_size: int, *, sampled: bool = False
) -> StreamedSplit:
    assert part.labels is not None
    chosen = np.zeros(len(part), np.bool_)
    chosen[rows] = True
    return StreamedSplit(
        part=replace(part, labels=None),
        chosen=ray.put(chosen),
        labels=ray.put(part.labels[chosen]),
        size=len(rows),
        cache_size=cache_size,
        sampled=sampled,
    )


def _check_cache(dataset: ShardedDataset, size: int) -> None:
    """Raises UserError for a cache that does not hold the window that is read and the next one."""
    parts = [part for part in (dataset.train, dataset.test) if part is not None]
    rows = sorted(shard.rows for part in parts for shard in part.shards)[-2 * WINDOW :]
    needed = sum(rows) * dataset.task.pixels
    if size < needed:
        raise UserError(
            f"cache size is {size:,} bytes, expected at least {needed:,} for {dataset.source}: "
            f"room for {len(rows)} shards; smaller files need less"
        )
