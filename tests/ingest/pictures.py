"""Small image files for tests."""

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from fmnist.data.dataset import Examples


def encoded(pixels: np.ndarray, form: str = "PNG") -> bytes:
    """Makes an image file; `pixels` is uint8 (height, width) or (height, width, 3)."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def write_pictures(folder: Path, names: Iterable[str], size: tuple[int, int] = (6, 5)) -> None:
    """Writes a random grey image for each name, always the same."""
    random = np.random.default_rng(0)
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(random.integers(0, 256, size, np.uint8)))


def write_flat(folder: Path, examples: Examples) -> None:
    """Writes examples of one channel as numbered PNG files, and their labels as CSV."""
    folder.mkdir(parents=True)
    lines = ["file,label"]
    assert examples.labels is not None
    for row, (image, label) in enumerate(zip(examples.images, examples.labels, strict=True)):
        (folder / f"{row:05}.png").write_bytes(encoded(image[:, :, 0]))
        lines.append(f"{row:05}.png,{label}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
