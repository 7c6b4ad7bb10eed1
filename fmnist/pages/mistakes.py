"""Finds the mistakes with the highest probabilities, and makes pictures of them."""

import base64
import struct
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

GREY, COLOUR = 0, 2  # PNG's colour types


class Mistake(NamedTuple):
    """A wrongly classified image: a PNG as a data: URI, and the probability of the wrong class."""

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
            picture=_data_uri(images[row]),
            true=classes[labels[row]],
            predicted=classes[predicted[row]],
            probability=float(probabilities[row, predicted[row]]),
        )
        for row in surest
    ]


def png(image: np.ndarray) -> bytes:
    """Returns a PNG file (ISO/IEC 15948) of a (height, width, channels) uint8 image.

    Three channels are red, green and blue; for any other number, their mean is the grey value.
    """
    height, width, channels = image.shape
    if channels != 3:
        image = image.mean(axis=2, keepdims=True).round().astype(np.uint8)
    kind = COLOUR if channels == 3 else GREY
    lines = image.reshape(height, -1)
    unfiltered = np.zeros((height, 1), np.uint8)  # the filter's number, before each line
    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(np.hstack([unfiltered, lines]).tobytes(), 9))
        + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _data_uri(image: np.ndarray) -> str:
    return "data:image/png;base64," + base64.b64encode(png(image)).decode()
