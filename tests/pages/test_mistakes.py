"""Pictures of mistakes."""

import numpy as np
import pytest

from fmnist.pages.mistakes import THUMBNAIL, data_uri, surest_mistakes
from tests.support.servers.browser import Browser


def pixels(browser: Browser, image: np.ndarray) -> np.ndarray:
    """Returns the pixels that a browser reads from our picture: (height, width, 4) RGBA."""
    script = """
        const [source, done] = arguments, image = new Image();
        image.onerror = () => done("not an image");
        image.onload = () => {
            const canvas = document.createElement("canvas");
            [canvas.width, canvas.height] = [image.width, image.height];
            const context = canvas.getContext("2d");
            context.drawImage(image, 0, 0);
            const all = context.getImageData(0, 0, image.width, image.height).data;
            done([image.height, image.width, ...all]);
        };
        image.src = source;"""
    browser.driver.get("about:blank")
    height, width, *values = browser.driver.execute_async_script(script, data_uri(image))
    return np.array(values).reshape(height, width, 4)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_a_browser_reads_the_pixels_back(browser: Browser, channels: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, channels)).astype(np.uint8)
    expected = image if channels == 3 else image.mean(axis=2, keepdims=True).round()
    found = pixels(browser, image)
    assert np.array_equal(found[:, :, :3], np.broadcast_to(expected, (5, 7, 3)))
    assert (found[:, :, 3] == 255).all()


def test_a_large_image_is_scaled_down(browser: Browser) -> None:
    image = np.random.default_rng(0).integers(0, 256, (1024, 512, 3)).astype(np.uint8)
    image[:512] = (250, 5, 5)
    found = pixels(browser, image)
    assert found.shape == (THUMBNAIL, THUMBNAIL // 2, 4)
    assert np.abs(found[10, 10, :3] - (250, 5, 5)).max() < 10
    assert len(data_uri(image)) < 20_000


def test_the_surest_come_first() -> None:
    probabilities = np.array([[0.6, 0.4], [0.9, 0.1], [0.2, 0.8], [0.3, 0.7]])
    images = np.zeros((4, 2, 2, 1), np.uint8)
    found = surest_mistakes(images, np.array([1, 1, 1, 0]), probabilities, ["a", "b"], most=2)
    assert [(m.true, m.predicted, m.probability) for m in found] == [
        ("b", "a", 0.9),
        ("a", "b", 0.7),
    ]


def test_without_mistakes_there_are_none() -> None:
    images = np.zeros((1, 2, 2, 1), np.uint8)
    assert surest_mistakes(images, np.array([0]), np.array([[0.9, 0.1]]), ["a", "b"], most=2) == []
