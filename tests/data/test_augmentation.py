"""What the random changes of training images leave as it was, and what they change."""

import numpy as np
import pytest

from fmnist.data.augmentation import AREA, SHIFT, Augmentation, mirrored_examples

COUNT = 200
IMAGES = np.random.default_rng(0).integers(1, 256, (COUNT, 12, 10, 2), dtype=np.uint8)
ROWS = np.arange(COUNT)


def changed(name, images=IMAGES, *, epoch=0, seed=3):
    random = np.random.default_rng([seed, epoch])
    mirrored = mirrored_examples(len(images), seed=seed, epoch=epoch)
    return Augmentation(name, random, mirrored, images.shape[1:3])(images, ROWS)


def windows(image):
    """All images that a shift can make of one, mirrored or not."""
    height, width = image.shape[:2]
    padded = np.pad(image, ((SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)))
    return [
        window
        for down in range(2 * SHIFT + 1)
        for right in range(2 * SHIFT + 1)
        for window in [padded[down : down + height, right : right + width]]
        for window in (window, window[:, ::-1])
    ]


def test_flip_mirrors_half_of_the_images_and_the_other_half_in_the_next_epoch():
    mirrored = []
    for epoch in range(3):
        images = changed("flip", epoch=epoch)
        is_mirrored = (images == IMAGES[:, :, ::-1]).all(axis=(1, 2, 3))
        assert np.array_equal(images[~is_mirrored], IMAGES[~is_mirrored])
        mirrored.append(is_mirrored)
    assert 0.4 < mirrored[0].mean() < 0.6
    assert np.array_equal(mirrored[1], ~mirrored[0]) and np.array_equal(mirrored[2], mirrored[0])


def test_another_seed_mirrors_others():
    assert not np.array_equal(changed("flip"), changed("flip", seed=4))


def test_shift_moves_the_image_and_fills_up_with_black():
    images = changed("shift-flip")
    for image, original in zip(images, IMAGES, strict=True):
        assert any(np.array_equal(image, window) for window in windows(original))
    assert (images == 0).any()


def test_a_lossless_shift_keeps_every_pixel_that_is_not_black():
    """Images with margins of 0 to 4 lines move; those without stay."""
    images, margins = IMAGES.copy(), ROWS % 5
    for image, margin in zip(images, margins, strict=True):
        image[:margin], image[:, 10 - margin :] = 0, 0
    found = changed("lossless-shift-flip", images)
    assert np.array_equal(found.sum(axis=(1, 2, 3)), images.sum(axis=(1, 2, 3)))
    moved = [
        not any(np.array_equal(image, same) for same in (original, original[:, ::-1]))
        for image, original in zip(found, images, strict=True)
    ]
    assert not any(np.array(moved)[margins == 0]) and np.mean(np.array(moved)[margins > 0]) > 0.5
    for image, original in zip(found, images, strict=True):
        assert any(np.array_equal(image, window) for window in windows(original))


def test_erasing_puts_noise_into_a_rectangle_of_half_of_the_images():
    before, after = changed("shift-flip"), changed("shift-flip-erase")
    erased = (before != after).any(axis=(1, 2, 3))
    assert 0.35 < erased.mean() < 0.6
    for old, new in zip(before[erased], after[erased], strict=True):
        rows, columns = np.nonzero((old != new).any(axis=2))
        inside = new[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert np.array_equal(inside[..., 0], inside[..., 1])
        assert inside[..., 0].size <= AREA[1] * 120 * 1.3  # sides are rounded
    assert len(np.unique(after[erased])) > 200


@pytest.mark.parametrize("name", ["flip", "shift-flip", "shift-flip-erase", "lossless-shift-flip"])
def test_an_epoch_changes_images_in_its_own_way_again(name):
    assert np.array_equal(changed(name), changed(name))
    assert not np.array_equal(changed(name), changed(name, epoch=1))
