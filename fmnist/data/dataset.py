"""The examples of a data set in memory, their split and their fingerprint."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fmnist.errors import UserError
from fmnist.machine import memory
from fmnist.tasks import Task


@dataclass(frozen=True, kw_only=True, eq=False)
class Examples:
    """One part of a data set, in its order.

    `ids` is (n,) int64 and unique; `images` is (n, height, width, channels) uint8, C-contiguous;
    `labels` is (n,) int64 in 0..classes-1, or None where they are unknown.
    """

    ids: np.ndarray
    images: np.ndarray
    labels: np.ndarray | None

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: np.ndarray) -> "Examples":
        """The examples at these positions, in this order."""
        return Examples(
            ids=self.ids[rows],
            images=self.images[rows],
            labels=None if self.labels is None else self.labels[rows],
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """The training and test examples of a task; a part that the source does not have is None.

    `source` is where the data came from, as text for people; it holds no credentials.
    """

    task: Task
    train: Examples | None
    test: Examples | None
    source: str

    @cached_property
    def fingerprint(self) -> str:
        """64 hex digits that follow from the task and the examples in their order.

        It does not depend on where or in which format they were stored. The same images without
        labels (as in the competition's test file) are another data set.
        """
        task = {"name": self.task.name, "classes": self.task.classes, "shape": self.task.shape}
        digest = hashlib.sha256(json.dumps(task, sort_keys=True, allow_nan=False).encode())
        for name, part in (("train", self.train), ("test", self.test)):
            if part is None:
                continue
            labelled = part.labels is not None
            digest.update(json.dumps([name, len(part), labelled], allow_nan=False).encode())
            digest.update(np.ascontiguousarray(part.ids, "<i8").data)
            digest.update(np.ascontiguousarray(part.images, "u1").data)
            if part.labels is not None:
                digest.update(np.ascontiguousarray(part.labels, "<i8").data)
        return digest.hexdigest()

    def count_labelled(self) -> int:
        """Number of training examples; UserError if there are none with labels."""
        return len(labelled(self))


def labelled(dataset: Dataset) -> Examples:
    """The training examples; UserError where there are none with labels."""
    if dataset.train is None or dataset.train.labels is None:
        raise UserError(f"{dataset.source}: found no labelled training examples, expected some")
    return dataset.train


def split(train: Examples, validation: float) -> tuple[Examples, Examples | None]:
    """Training and validation examples, exactly as the report split them.

    That is scikit-learn's `train_test_split(test_size=validation, random_state=42)`, which shuffles
    both parts. With `validation` 0 all examples stay for training, in their order.
    Raises UserError unless both parts get at least one example.
    """
    rows, held_out = split_rows(len(train), validation)
    if held_out is None:
        return train, None
    return train.take(rows), train.take(held_out)


def split_rows(count: int, validation: float) -> tuple[np.ndarray, np.ndarray | None]:
    """Row numbers of the examples that `split` takes for training and for validation."""
    if validation == 0:
        return np.arange(count), None
    if not 0 < validation < 1:
        raise UserError(f"validation is {validation}, expected a fraction from 0 to below 1")
    # Here and not above: it takes a second, and workers that only predict never split.
    from sklearn.model_selection import train_test_split

    try:
        rows, held_out = train_test_split(np.arange(count), test_size=validation, random_state=42)
    except ValueError as error:
        raise UserError(
            f"{count} training examples are too few to hold out {validation:.0%} of them"
        ) from error
    return rows, held_out


def check_ids(ids: np.ndarray, where: str) -> None:
    """Raises UserError naming the first id that occurs more than once."""
    values, counts = np.unique(ids, return_counts=True)
    repeated = values[counts > 1]
    if len(repeated):
        raise UserError(
            f"{where}: id {repeated[0]} is there {counts[counts > 1][0]} times"
            f" ({len(repeated)} such ids), expected unique ids"
        )


def check_room(size: int, where: str) -> None:
    """Raises UserError for more bytes than this process may use, as a small file may inflate to."""
    if size > (most := memory()):
        raise UserError(
            f"{where} would take {size:,} bytes, more than the {most:,} of this machine's memory"
            " or this container's limit"
        )


def check_labels(labels: np.ndarray, classes: int, where: str, first: int = 0) -> None:
    """Raises UserError naming the first label outside 0..classes-1.

    `first` is the number that its format gives to the first row.
    """
    wrong = (labels < 0) | (labels >= classes)
    if wrong.any():
        row = int(wrong.argmax())
        raise UserError(
            f"{where}: label {labels[row]} in row {row + first}, expected 0 to {classes - 1}"
        )
