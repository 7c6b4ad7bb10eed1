"""Statistics of images: what each number says, for grey and coloured images of any shape."""

import numpy as np
import pytest

from fmnist.drift import image_statistics as module
from fmnist.drift.image_statistics import image_statistics, statistic_names


def statistics(images: np.ndarray) -> dict[str, np.ndarray]:
    found = image_statistics(images)
    assert found.dtype == np.float32
    return dict(zip(statistic_names(images.shape[3]), found.T, strict=True))


def test_what_the_numbers_say() -> None:
    images = np.zeros((3, 4, 8, 1), np.uint8)
    images[0, 3, :2] = 200  # at the bottom, in the first quarter
    images[1] = 100  # plain
    found = statistics(images)
    assert found["brightness"].tolist() == [12.5, 100, 0]
    assert found["contrast"] == pytest.approx([np.std([200] * 2 + [0] * 30), 0, 0])
    assert found["horizontal centre"].tolist() == [0.125, 0.5, 0.5]
    assert found["vertical centre"].tolist() == [0.875, 0.5, 0.5]
    assert found["detail"] == pytest.approx([(200 / 28 + 2 * 200 / 24) / 2, 0, 0])


def test_channels_in_another_order_are_seen() -> None:
    images = np.zeros((1, 2, 2, 3), np.uint8)
    images[..., 0] = 90
    found = statistics(images)
    assert [found[f"balance of channel {number}"][0] for number in (1, 2, 3)] == [60, -30, -30]
    assert statistics(images[..., ::-1])["balance of channel 3"] == 60
    assert len(statistic_names(1)) == 5 and len(statistic_names(3)) == 8


def test_images_of_one_pixel_and_no_images() -> None:
    assert image_statistics(np.full((1, 1, 1, 1), 7, np.uint8)).tolist() == [[7, 0, 0, 0.5, 0.5]]
    assert image_statistics(np.empty((0, 5, 5, 3), np.uint8)).shape == (0, 8)


def test_an_image_has_the_same_numbers_whatever_is_beside_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (9, 6, 5, 3), np.uint8)
    together = image_statistics(images)
    monkeypatch.setattr(module, "CHUNK_BYTES", 2 * images[0].size)
    np.testing.assert_array_equal(image_statistics(images), together)
