"""Splits a test part off a source that has none."""

import numpy as np

from fmnist.errors import UserError
from fmnist.ingest.source import ImagePart, ImageSource

SPLIT_SEED = 42  # as for the validation part


def split_test(source: ImageSource, share: float) -> dict[str, ImagePart]:
    """Returns the parts; with a share, that much of each class becomes the test part.

    Raises UserError for a source that has a test part, and for classes with too few images.
    """
    if not share:
        return source.parts
    train = source.parts.get("train")
    if "test" in source.parts or train is None or train.column is not None:
        raise UserError(
            f"{source.uri}: found {' and '.join(source.parts)}, expected one folder of classes to "
            f"split {share:g} of it off as test images"
        )
    from sklearn.model_selection import train_test_split

    try:
        rows, held_out = train_test_split(
            np.arange(train.size), test_size=share, random_state=SPLIT_SEED, stratify=train.labels
        )
    except ValueError as error:
        raise UserError(f"{source.uri}: can't be split by --test {share:g}: {error}") from error
    return {"train": train.take(np.sort(rows)), "test": train.take(np.sort(held_out))}
