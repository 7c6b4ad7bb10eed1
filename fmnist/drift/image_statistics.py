"""Numbers that say how an image looks, so that two sets of images can be compared.

A few numbers that people understand find what goes wrong with images in practice: other lighting,
inverted or washed-out pixels, another crop, blur or noise, and channels in another order.
"""

import numpy as np

CHUNK_BYTES = 4 << 20  # of pixels that are looked at at once, of which each takes 4 bytes


def statistic_names(channels: int) -> tuple[str, ...]:
    """Names of the statistics of images with so many channels."""
    colours = range(1, channels + 1) if channels > 1 else ()
    return (
        "brightness",
        "contrast",
        "detail",
        "horizontal centre",
        "vertical centre",
        *(f"balance of channel {number}" for number in colours),
    )


def image_statistics(images: np.ndarray, positions: np.ndarray | None = None) -> np.ndarray:
    """Returns the statistics (n, statistics) float32 of uint8 images (…, height, width, channels).

    With `positions` (n,), they are those of the images there; else of all images.

    Brightness is the mean of the pixels (0–255), contrast their standard deviation, and detail the
    mean absolute difference between neighbours. The centres are those of brightness, as shares of
    width and height; 0.5 for an image that is black. A channel's balance is its mean minus the
    image's brightness.
    """
    rows = max(1, CHUNK_BYTES // max(1, images[:1].size))
    if positions is None:
        positions = np.arange(len(images))
    pieces = [positions[start : start + rows] for start in range(0, len(positions), rows)]
    chunks = [_statistics(images[piece]) for piece in pieces]
    names = statistic_names(images.shape[3])
    return np.concatenate([np.empty((0, len(names)), np.float32), *chunks])


def _statistics(images: np.ndarray) -> np.ndarray:
    grey = images.mean(axis=3, dtype=np.float32)
    brightness = grey.mean(axis=(1, 2))
    columns = [
        brightness,
        grey.std(axis=(1, 2)),
        (_roughness(grey, axis=1) + _roughness(grey, axis=2)) / 2,
        _centre(grey.sum(axis=1)),
        _centre(grey.sum(axis=2)),
    ]
    if images.shape[3] > 1:
        means = images.mean(axis=(1, 2), dtype=np.float32)
        columns += [*(means - brightness[:, None]).T]
    return np.stack(columns, axis=1).astype(np.float32)


def _roughness(grey: np.ndarray, axis: int) -> np.ndarray:
    """Mean absolute difference (n,) between neighbours; 0 where there are none."""
    if grey.shape[axis] == 1:
        return np.zeros(len(grey), np.float32)
    found: np.ndarray = np.abs(np.diff(grey, axis=axis)).mean(axis=(1, 2))
    return found


def _centre(sums: np.ndarray) -> np.ndarray:
    """Centre of mass (n,) of the sums (n, length) of rows or columns, as a share of the length."""
    total = sums.sum(axis=1)
    middles = (np.arange(sums.shape[1]) + 0.5) / sums.shape[1]
    centres = np.full(len(sums), 0.5)
    np.divide(sums @ middles, total, out=centres, where=total > 0)
    return centres
