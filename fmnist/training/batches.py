"""Which examples a rank sees, in which order: a function of seed, epoch and rank alone.

Every rank of a step gets the same number of rows, so that collectives line up. Where a batch does
not divide, the last ranks repeat a row with weight zero: no example is lost or counted twice.
"""

from collections.abc import Iterator

import numpy as np

SHIFT = 2  # pixels
Batch = tuple[np.ndarray, np.ndarray, np.ndarray]  # images uint8, labels int64, weights float32


def steps(examples: int, batch: int) -> int:
    """Steps in an epoch; the last one takes what is left."""
    return -(-examples // batch)


def training_batches(
    images: np.ndarray,
    labels: np.ndarray,
    *,
    batch: int,
    seed: int,
    first_epoch: int,
    first_step: int,
    augmentation: str,
    rank: int,
    world: int,
) -> Iterator[Batch]:
    """Rank's part of every global batch from that step of that epoch on, without end.

    A weight is 1 / (examples in the global batch), so that the sum over all ranks of weighted
    losses is the mean loss of the global batch, and 0 for a repeated row.
    """
    epoch, begin = first_epoch, first_step * batch
    while True:
        random = np.random.default_rng([seed, epoch])
        order = random.permutation(len(labels))
        augment = Augmentation(augmentation, random, len(labels))
        for start in range(begin, len(order), batch):
            rows, weights = _share(order[start : start + batch], rank, world)
            weights /= len(order[start : start + batch])
            yield augment(images[rows], rows), labels[rows], weights
        epoch, begin = epoch + 1, 0


class Augmentation:
    """An epoch's random changes to its images, drawn for all of them, so that no rank matters.

    `flip` mirrors left and right with probability one half; `shift-flip` also moves the image by up
    to SHIFT pixels up or down and left or right, and fills up with black.
    """

    def __init__(self, name: str, random: np.random.Generator, examples: int) -> None:
        self._mirrored = random.random(examples) < 0.5 if "flip" in name else None
        self._moved = random.integers(0, 2 * SHIFT + 1, (examples, 2)) if "shift" in name else None

    def __call__(self, images: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Changes the images (n, height, width, channels) of these rows of the data set."""
        if self._moved is not None:
            height, width = images.shape[1:3]
            padded = np.pad(images, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)))
            windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), (1, 2))
            down, right = self._moved[rows].T
            images = np.moveaxis(windows[np.arange(len(rows)), down, right], 1, -1)
        if self._mirrored is not None:
            mirrored = self._mirrored[rows, None, None, None]
            images = np.where(mirrored, images[:, :, ::-1], images)
        return images


def evaluation_batches(
    images: np.ndarray, labels: np.ndarray, *, batch: int, rank: int, world: int
) -> Iterator[Batch]:
    """Rank's part of every example in its given order, again and again; weights are 1, or 0."""
    while True:
        for start in range(0, len(labels), batch):
            rows, weights = _share(np.arange(start, min(start + batch, len(labels))), rank, world)
            yield images[rows], labels[rows], weights


def _share(rows: np.ndarray, rank: int, world: int) -> tuple[np.ndarray, np.ndarray]:
    """This rank's contiguous share of `rows`, padded to the length of the largest share."""
    size = -(-len(rows) // world)
    share = rows[rank * size : (rank + 1) * size]
    padding = size - len(share)
    weights = np.ones(size, np.float32)
    if padding:
        weights[len(share) :] = 0
        share = np.concatenate([share, np.full(padding, rows[0])])
    return share, weights
