"""Every example is used once an epoch, for any number of workers."""

from itertools import islice

import numpy as np
import pytest

from fmnist.training.batches import SHIFT, count_steps, evaluation_batches, training_batches

EXAMPLES, BATCH = 103, 20
LABELS = np.arange(EXAMPLES)
IMAGES = np.random.default_rng(0).integers(0, 256, (EXAMPLES, 6, 5, 2), dtype=np.uint8)


def epochs(world, *, count=1, augmentation="none", **changes):
    """Returns the batches of `count` epochs: one list for each rank."""
    settings = {"batch": BATCH, "seed": 3, "first_epoch": 0, "first_step": 0} | changes
    return [
        list(
            islice(
                training_batches(
                    IMAGES, LABELS, augmentation=augmentation, rank=rank, world=world, **settings
                ),
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


@pytest.mark.parametrize("augmentation", ["flip", "shift-flip"])
def test_augmentation_does_not_depend_on_the_rank(augmentation):
    alone, divided = epochs(1, augmentation=augmentation), epochs(2, augmentation=augmentation)
    for (whole, _, _), *ranks in zip(alone[0], *divided, strict=True):
        parts = [images[weights > 0] for images, _, weights in ranks]
        assert np.array_equal(np.concatenate(parts), whole)


def test_flip_mirrors_about_half_of_the_images_and_changes_nothing_else():
    mirrored = 0
    for images, labels, _ in epochs(1, augmentation="flip")[0]:
        for image, label in zip(images, labels, strict=True):
            original = IMAGES[label]
            mirrored += np.array_equal(image, original[:, ::-1])
            assert np.array_equal(image, original) or np.array_equal(image, original[:, ::-1])
    assert 0.3 < mirrored / EXAMPLES < 0.7


def test_shift_moves_the_image_and_fills_up_with_black():
    images, labels, _ = epochs(1, augmentation="shift-flip", batch=103)[0][0]
    height, width = IMAGES.shape[1:3]
    for image, label in zip(images, labels, strict=True):
        padded = np.pad(IMAGES[label], ((SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)))
        windows = [
            padded[down : down + height, right : right + width]
            for down in range(2 * SHIFT + 1)
            for right in range(2 * SHIFT + 1)
        ]
        assert any(
            np.array_equal(image, candidate)
            for window in windows
            for candidate in (window, window[:, ::-1])
        )


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
