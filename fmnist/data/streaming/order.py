"""The order in which a streamed run sees its examples, a pure function of seed, epoch and sizes.

The shards are permuted, and divided into windows of WINDOW of them or a few less. In a window, the
examples of each shard are permuted, and the shards are mixed evenly: each is at the same share of
its examples all the time. A global batch is sorted by the places of the shards in their window, so
that a rank, whose share is contiguous, needs only its part of the shards.

Better than MosaicML's `py1s`, which is similar, for ranks on several nodes: they share the reading.
Worse than a permutation of all examples where neighbours are alike: images that are sorted by class
should be in no more than a window's shards.
"""

from collections.abc import Iterator

import numpy as np

WINDOW = 32  # shards; of 32 MB at most, where the job has made them itself


def epoch_batches(
    sizes: np.ndarray, *, batch: int, seed: int, epoch: int, first_step: int = 0
) -> Iterator[np.ndarray]:
    """Yields the positions (batch,) of each global batch of an epoch, from a step on.

    `sizes` (shards,) are the numbers of examples in the shards, whose positions are consecutive.
    """
    starts = np.cumsum(sizes) - sizes
    skipped = first_step * batch
    positions, slots = np.empty(0, np.int64), np.empty(0, np.int64)
    for number, window in enumerate(_windows(sizes, np.random.default_rng([seed, epoch, 1]))):
        if skipped >= (count := int(sizes[window].sum())):
            skipped -= count
            continue
        random = np.random.default_rng([seed, epoch, 2, number])
        mixed, mixed_slots = _mix(starts[window], sizes[window], random)
        positions = np.concatenate([positions, mixed[skipped:]])
        slots = np.concatenate([slots, mixed_slots[skipped:]])
        skipped = 0
        whole = len(positions) // batch * batch
        for start in range(0, whole, batch):
            yield _sorted_by_slot(positions[start : start + batch], slots[start : start + batch])
        positions, slots = positions[whole:], slots[whole:]
    if len(positions):
        yield _sorted_by_slot(positions, slots)


def window_examples(sizes: np.ndarray) -> int:
    """The largest number of examples that a window can have."""
    return int(np.sort(sizes)[-WINDOW:].sum())


def _windows(sizes: np.ndarray, random: np.random.Generator) -> list[np.ndarray]:
    """All shards with examples, permuted, in windows of about the same number of shards."""
    shards = random.permutation(np.flatnonzero(sizes))
    return np.array_split(shards, -(-len(shards) // WINDOW))


def _mix(
    starts: np.ndarray, sizes: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Positions (n,) of the examples of a window in their order, and their shards' places in it."""
    pieces = [start + random.permutation(size) for start, size in zip(starts, sizes, strict=True)]
    slots = np.repeat(np.arange(len(sizes)), sizes)
    shares = np.concatenate([(np.arange(size) + 0.5) / size for size in sizes])
    order = np.lexsort((slots, shares))
    return np.concatenate(pieces)[order], slots[order]


def _sorted_by_slot(positions: np.ndarray, slots: np.ndarray) -> np.ndarray:
    return positions[np.argsort(slots, kind="stable")]
