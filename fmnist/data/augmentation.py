"""The random changes of training images.

They are drawn for all images of an epoch or of a global batch at once, so that they follow from
seed and epoch, and do not depend on the rank that gets an image.
"""

import numpy as np

SHIFT = 2  # pixels in each direction

# Random erasing as it was published (Zhong et al., arXiv:1708.04896).
ERASED = 0.5  # of the images
AREA = 0.02, 0.4  # of an image
RATIO = 0.3, 1 / 0.3  # of height to width


def mirrored_examples(examples: int, *, seed: int, epoch: int) -> np.ndarray:
    """Returns (n,) booleans: a half of all examples, and in the next epoch the other half."""
    first: np.ndarray = np.random.default_rng([seed]).random(examples) < 0.5
    return first ^ bool(epoch % 2)


class Augmentation:
    """Changes the images of one epoch, or of a global batch, with their own generator `random`.

    `flip` mirrors the images that are `mirrored` (n,) left and right, so that two epochs have each
    image both ways. `shift-flip` also moves the image by up to SHIFT pixels vertically and
    horizontally, and fills the gap with black. `lossless-shift-flip` moves it only so far that no
    pixel but black ones leaves it. `shift-flip-erase` fills a rectangle of half of the images with
    noise. `size` is height and width.
    """

    def __init__(
        self,
        name: str,
        random: np.random.Generator,
        mirrored: np.ndarray,
        size: tuple[int, ...],
    ) -> None:
        examples, (height, width) = len(mirrored), size
        self._lossless = "lossless" in name
        self._mirrored = mirrored if "flip" in name else None
        self._moved: np.ndarray | None = None
        self._erasing: Erasing | None = None
        if "shift" in name:
            self._moved = random.integers(0, 2 * SHIFT + 1, (examples, 2))
        if "erase" in name:
            self._erasing = Erasing(random, examples, height, width)

    def __call__(self, images: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Returns changed copies of the images (n, height, width, channels) of these rows."""
        if self._moved is not None:
            down, right = self._moved[rows].T
            if self._lossless:
                down = _within_margins(down, (images > 0).max(axis=(2, 3)))
                right = _within_margins(right, (images > 0).max(axis=(1, 3)))
            images = _shifted(images, down, right)
        if self._mirrored is not None:
            mirrored = self._mirrored[rows, None, None, None]
            images = np.where(mirrored, images[:, :, ::-1], images)
        if self._erasing is not None:
            images = self._erasing(images, rows)
        return images


def _shifted(images: np.ndarray, down: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Returns the windows that begin at `down` and `right` in images with SHIFT black pixels."""
    height, width = images.shape[1:3]
    padded = np.pad(images, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), (1, 2))
    return np.moveaxis(windows[np.arange(len(images)), down, right], 1, -1)


def _within_margins(begins: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Limits where windows begin, so that they contain all lines (n, lines) that are `used`."""
    before, after = used.argmax(axis=1), used[:, ::-1].argmax(axis=1)
    limited: np.ndarray = np.clip(begins, SHIFT - after, SHIFT + before)
    return limited


class Erasing:
    """The rectangles of an epoch; an image that is not erased has one of no height."""

    def __init__(self, random: np.random.Generator, examples: int, height: int, width: int) -> None:
        area = random.uniform(*AREA, examples) * height * width
        ratio = random.uniform(*RATIO, examples)
        erased = random.random(examples) < ERASED
        self._tall = np.minimum(np.sqrt(area * ratio).round(), height).astype(int) * erased
        self._wide = np.minimum(np.sqrt(area / ratio).round(), width).astype(int)
        self._top = random.integers(0, height - self._tall + 1)
        self._left = random.integers(0, width - self._wide + 1)
        self._noise = random.integers(0, 256, 2 * height * width, np.uint8)
        self._noise_begin = random.integers(0, height * width, examples)

    def __call__(self, images: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Returns copies of the images of these rows; all channels have the same noise."""
        height, width = images.shape[1:3]
        noise = self._noise[self._noise_begin[rows, None] + np.arange(height * width)]
        inside = (
            _between(self._top[rows], self._tall[rows], height)[:, :, None]
            & _between(self._left[rows], self._wide[rows], width)[:, None, :]
        )
        return np.where(inside[..., None], noise.reshape(-1, height, width, 1), images)


def _between(begins: np.ndarray, lengths: np.ndarray, size: int) -> np.ndarray:
    """Returns (n, size) booleans: True from each begin on, for its length."""
    places = np.arange(size)
    between: np.ndarray = (places >= begins[:, None]) & (places < (begins + lengths)[:, None])
    return between
