"""The mistakes a model was surest of, as pictures."""

import base64
import struct
import zlib
from typing import NamedTuple

import numpy as np

GREY, COLOUR = 0, 2  # PNG's colour types


class Mistake(NamedTuple):
    """One wrongly classified image: a PNG as a data: URI, and what it was taken for how surely."""

    picture: str
    true: str
    predicted: str
    probability: float


def surest_mistakes(
    images: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    classes: list[str],
    *,
    most: int,
) -> list[Mistake]:
    """Up to `most` mistakes, the surest first.

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
    """A PNG file (ISO/IEC 15948) of a (height, width, channels) uint8 image.

    Three channels are red, green and blue; of any other number the mean is shown in grey.
    """
    height, width, channels = image.shape
    if channels != 3:
        image = image.mean(axis=2, keepdims=True).round().astype(np.uint8)
    kind = COLOUR if channels == 3 else GREY
    lines = image.reshape(height, -1)
    unfiltered = np.zeros((height, 1), np.uint8)  # each line starts with its filter's number
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
