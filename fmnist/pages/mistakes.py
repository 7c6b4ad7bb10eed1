"""Finds the mistakes with the highest probabilities, and makes pictures of them."""

import base64
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

SMALL = 64  # pixels of a side
THUMBNAIL = 128


class Mistake(NamedTuple):
    """A wrongly classified image, as a data: URI, and the probability of the wrong class."""

    picture: str
    true: str
    predicted: str
    probability: float


def surest_mistakes(
    images: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
    *,
    most: int,
) -> list[Mistake]:
    """Returns up to `most` mistakes, the highest probability of the wrong class first.

    `images` (n, height, width, channels) uint8, `labels` (n,) int, `probabilities` (n, k) float.
    """
    predicted = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    surest = wrong[np.argsort(-probabilities[wrong, predicted[wrong]], kind="stable")][:most]
    return [
        Mistake(
            picture=data_uri(images[row]),
            true=classes[labels[row]],
            predicted=classes[predicted[row]],
            probability=float(probabilities[row, predicted[row]]),
        )
        for row in surest
    ]


def data_uri(image: np.ndarray) -> str:
    """Returns a picture of a (height, width, channels) uint8 image as a data: URI.

    Three channels are red, green and blue; for any other number, their mean is the grey value. A
    small image is a PNG with its very pixels; a larger one is scaled down, so that the page stays
    small.
    """
    if image.shape[2] != 3:
        image = image.mean(axis=2).round().astype(np.uint8)
    picture = Image.fromarray(image)
    if max(picture.size) <= SMALL:
        return _encoded(picture, "png", optimize=True)
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    return _encoded(picture, "jpeg", quality=80)


def _encoded(picture: Image.Image, format: str, **options: bool | int) -> str:
    file = io.BytesIO()
    picture.save(file, format, **options)
    return f"data:image/{format};base64,{base64.b64encode(file.getvalue()).decode()}"
