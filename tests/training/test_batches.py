"""Every example is used once an epoch, for any number of workers."""

from itertools import islice

import numpy as np
import pytest

from fmnist.run_settings import CHOICES
from fmnist.training.batches import (
    TrainingOrder,
    count_steps,
    evaluation_batches,
    training_batches,
)

EXAMPLES, BATCH = 103, 20
LABELS = np.arange(EXAMPLES)
IMAGES = np.random.default_rng(0).integers(0, 256, (EXAMPLES, 6, 5, 2), dtype=np.uint8)


def epochs(world, *, count=1, augmentation="none", **changes):
    """Returns the batches of `count` epochs: one list for each rank."""
    start = {"first_epoch": 0, "first_step": 0, "augmentation": augmentation}
    settings = {"batch": BATCH, "seed": 3} | start | changes
    return [
        list(
            islice(
                training_batches(IMAGES, LABELS, TrainingOrder(**settings, rank=rank, world=world)),
                count * count_steps(EXAMPLES, BATCH),
            )
        )
        for rank in range(world)
    ]


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_an_epoch_uses_every_example_once(world):
    used = [
        label
        for rank in epochs(world)
        for _, labels, weights in rank
        for label in labels[weights > 0]
    ]
    assert sorted(used) == list(LABELS)


@pytest.mark.parametrize("world", [2, 3, 7])
def test_a_global_batch_has_the_same_examples_for_any_number_of_workers(world):
    alone = epochs(1)[0]
    for step, ranks in enumerate(zip(*epochs(world), strict=True)):
        together = np.concatenate([labels[weights > 0] for _, labels, weights in ranks])
        assert list(together) == list(alone[step][1])


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_weights_make_the_sum_over_ranks_the_mean_of_the_global_batch(world):
    for ranks in zip(*epochs(world), strict=True):
        assert sum(weights.sum() for _, _, weights in ranks) == pytest.approx(1)
        assert len({len(labels) for _, labels, _ in ranks}) == 1


def test_order_follows_from_seed_and_epoch_alone():
    first, second = np.split(np.array([b[1] for b in epochs(1, count=2, batch=103)[0][:2]]), 2)
    again = epochs(1, first_epoch=1, batch=103)[0][0][1]
    other = epochs(1, seed=4, batch=103)[0][0][1]
    assert list(second[0]) == list(again)
    assert list(first[0]) != list(second[0])
    assert list(first[0]) != list(other)


@pytest.mark.parametrize(
    "augmentation", [each for each in CHOICES["augmentation"] if each != "auto"]
)
def test_augmentation_does_not_depend_on_the_rank(augmentation):
    alone, divided = epochs(1, augmentation=augmentation), epochs(2, augmentation=augmentation)
    for (whole, _, _), *ranks in zip(alone[0], *divided, strict=True):
        parts = [images[weights > 0] for images, _, weights in ranks]
        assert np.array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("augmentation", ["shift-flip-erase", "lossless-shift-flip"])
def test_a_resumed_epoch_changes_its_images_as_if_it_had_not_been_interrupted(augmentation):
    whole = epochs(1, count=2, augmentation=augmentation)[0]
    steps = count_steps(EXAMPLES, BATCH)
    resumed = epochs(1, augmentation=augmentation, first_epoch=1, first_step=2)[0]
    for (images, labels, _), (again, same, _) in zip(whole[steps + 2 :], resumed, strict=False):
        assert np.array_equal(images, again) and np.array_equal(labels, same)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_evaluation_counts_every_example_once_and_starts_again(world):
    for lap in range(2):
        seen = [
            label
            for rank in range(world)
            for _, labels, weights in islice(
                evaluation_batches(IMAGES, LABELS, batch=BATCH, rank=rank, world=world),
                lap * count_steps(EXAMPLES, BATCH),
                (lap + 1) * count_steps(EXAMPLES, BATCH),
            )
            for label in labels[weights > 0]
        ]
        assert sorted(seen) == list(LABELS)
