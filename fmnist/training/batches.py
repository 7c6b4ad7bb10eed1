"""The batches of a rank: which examples it sees, and in which order.

The order follows from seed and epoch alone, and the share of a rank from its number. In each step
all ranks get the same number of rows, as collectives need it. If a global batch cannot be divided
evenly, the last ranks repeat a row with weight zero, so each example still counts exactly once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fmnist.data.augmentation import Augmentation, mirrored_examples
from fmnist.data.streaming.ahead import ahead
from fmnist.data.streaming.images import StreamedImages
from fmnist.data.streaming.order import epoch_batches, window_examples

Batch = tuple[np.ndarray, np.ndarray, np.ndarray]  # images uint8, labels int64, weights float32


@dataclass(frozen=True, kw_only=True)
class TrainingOrder:
    """Decides which training examples a rank gets, and in which order, from a step on."""

    batch: int
    seed: int
    first_epoch: int
    first_step: int
    augmentation: str
    rank: int
    world: int


def count_steps(examples: int, batch: int) -> int:
    """Number of steps over all examples; the last step may have a smaller batch."""
    return -(-examples // batch)


def training_batches(
    images: np.ndarray, labels: np.ndarray, order: TrainingOrder
) -> Iterator[Batch]:
    """Yields this rank's part of each global batch, from a step of an epoch on, without end.

    A row's weight is 1 / (examples in the global batch), so that the sum of weighted losses over
    all ranks is the mean loss of the global batch. A repeated row has weight 0.
    """
    epoch, begin = order.first_epoch, order.first_step * order.batch
    while True:
        random = np.random.default_rng([order.seed, epoch])
        shuffled = random.permutation(len(labels))
        mirrored = mirrored_examples(len(labels), seed=order.seed, epoch=epoch)
        augment = Augmentation(order.augmentation, random, mirrored, images.shape[1:3])
        for start in range(begin, len(labels), order.batch):
            together = shuffled[start : start + order.batch]
            rows, weights = _rank_share(together, order.rank, order.world)
            weights /= len(together)
            yield augment(images[rows], rows), labels[rows], weights
        epoch, begin = epoch + 1, 0


class _Share(NamedTuple):
    """The rows of a rank in one step; `places` are theirs in the global batch."""

    rows: np.ndarray
    places: np.ndarray
    weights: np.ndarray
    augment: Augmentation


def streamed_batches(
    images: StreamedImages, labels: np.ndarray, order: TrainingOrder
) -> Iterator[Batch]:
    """Yields batches as `training_batches` does, in the order of `streaming.order`.

    A thread works ahead: it brings shards to this node, by as many steps as a window has.
    """

    def shares() -> Iterator[_Share]:
        seed, shape = order.seed, images.shape[1:3]
        epoch, begin = order.first_epoch, order.first_step
        while True:
            batches = epoch_batches(
                images.sizes, batch=order.batch, seed=seed, epoch=epoch, first_step=begin
            )
            mirrored = mirrored_examples(len(labels), seed=seed, epoch=epoch)
            for step, rows in enumerate(batches, start=begin):
                places, weights = _rank_share(np.arange(len(rows)), order.rank, order.world)
                weights /= len(rows)
                random = np.random.default_rng([seed, epoch, 3, step])
                augment = Augmentation(order.augmentation, random, mirrored[rows], shape)
                images.open(rows[places])
                yield _Share(rows[places], places, weights, augment)
            epoch, begin = epoch + 1, 0

    def read() -> Iterator[Batch]:
        for rows, places, weights, augment in ahead(shares(), steps_of_a_window):
            yield augment(images[rows], places), labels[rows].astype(np.int64, copy=False), weights

    steps_of_a_window = count_steps(window_examples(images.sizes), order.batch)
    return read()


def evaluation_batches(
    images: np.ndarray | StreamedImages, labels: np.ndarray, *, batch: int, rank: int, world: int
) -> Iterator[Batch]:
    """Yields this rank's part of all examples in their order, again and again.

    Weights are 1, and 0 for a repeated row.
    """
    while True:
        for start in range(0, len(labels), batch):
            rows, weights = _rank_share(
                np.arange(start, min(start + batch, len(labels))), rank, world
            )
            yield images[rows], labels[rows].astype(np.int64, copy=False), weights


def _rank_share(rows: np.ndarray, rank: int, world: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns this rank's contiguous share of `rows`, padded to the size of the largest share.

    The weights are 1, and 0 for padding.
    """
    size = -(-len(rows) // world)
    share = rows[rank * size : (rank + 1) * size]
    padding = size - len(share)
    weights = np.ones(size, np.float32)
    if padding:
        weights[len(share) :] = 0
        share = np.concatenate([share, np.full(padding, rows[0])])
    return share, weights
