"""Predictions as they lie in storage: files of labels while they are written, then one result.

A file counts only as a whole, so those of an attempt that was killed can be taken over, and the
attempt that comes after scores what they lack. A file that is being written by somebody else, or
was left unfinished, can't be read and is passed over.
"""

import io
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from pyarrow import csv
from pyarrow import parquet as pq

from fmnist.storage.open import Storage

LABELS = "labels"  # the folder of Parquet files
SUBMISSION = "submission.csv"
SUFFIX = ".parquet"


@dataclass(kw_only=True)
class Collected:
    """The labels found so far for `ids` (n,) int64, sorted; -1 where there is none yet."""

    ids: np.ndarray
    classes: int
    labels: np.ndarray = field(init=False)
    names: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.labels = np.full(len(self.ids), -1, np.int64)

    def scored(self) -> np.ndarray:
        """Which of the ids have a label: (n,) bool."""
        return self.labels >= 0

    def take_over(self, storage: Storage, prefix: str, names: Iterable[str]) -> list[str]:
        """Adds the labels of these files; returns the names of those that don't fit.

        A file fits if every id in it is one of ours, is new and has a label in range.
        """
        return [name for name in names if not self._take(storage, f"{prefix}/{name}", name)]

    def _take(self, storage: Storage, key: str, name: str) -> bool:
        try:
            data = storage.read(key)
        except FileNotFoundError:
            return False
        try:
            file = pq.ParquetFile(pa.BufferReader(data))
            if file.metadata.num_rows > len(self.ids):  # before they take memory
                return False
            table = file.read(columns=["id", "label"])
        except Exception:  # Ray's own Arrow types raise anything where a file misuses them
            return False
        columns = sorted((each.name, str(each.type)) for each in table.schema)
        if not table.num_rows or columns != [("id", "int64"), ("label", "int64")]:
            return False
        if any(column.null_count for column in table.columns):
            return False
        ids, labels = np.asarray(table["id"]), np.asarray(table["label"])
        rows = np.searchsorted(self.ids, ids)
        rows[rows == len(self.ids)] = 0
        new = len(np.unique(ids)) == len(ids) and (self.labels[rows] < 0).all()
        ours = (self.ids[rows] == ids).all()
        if not (new and ours and (labels >= 0).all() and (labels < self.classes).all()):
            return False
        self.labels[rows] = labels
        self.names.append(name)
        return True


def label_files(storage: Storage, prefix: str) -> list[str]:
    """Names below `prefix` of all files of labels, finished or not."""
    keys = storage.keys(f"{prefix}/{LABELS}")
    return [key.removeprefix(f"{prefix}/") for key in keys if key.endswith(SUFFIX)]


def submission(ids: np.ndarray, labels: np.ndarray) -> bytes:
    """The competition's CSV: a header `Id,Label`, one line an id, `\\n` line ends."""
    lines = io.BytesIO()
    # Arrow would put quotation marks around the names.
    options = csv.WriteOptions(include_header=False)
    csv.write_csv(pa.table([ids, labels], ["Id", "Label"]), lines, options)
    return b"Id,Label\n" + lines.getvalue()
