"""The columns of predictions, and the files of predictions in storage.

While a job scores, it writes Parquet files of predictions. A file counts only as a whole: the next
attempt takes over the files of an attempt that was killed, and scores only the images that they
lack. A file that was left unfinished, or that another job is still writing, cannot be read and is
ignored.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv
from pyarrow import parquet as pq

from fmnist.storage.open import Storage

LABELS = "labels"  # the folder of Parquet files
SUBMISSION = "submission.csv"
SUFFIX = ".parquet"

# The columns of a prediction. The few different names of classes and models make dictionaries.
ID = pa.field("id", pa.int64())
NAME = pa.field("name", pa.string())  # of an image that was a file
LABEL = pa.field("label", pa.int64())
CLASS = pa.field("class", pa.dictionary(pa.int32(), pa.string()))  # the name of the label
MODEL = pa.field("model", pa.dictionary(pa.int32(), pa.string()))  # id of its run
PROBABILITIES = pa.field("probabilities", pa.list_(pa.float32()))  # of each class; if asked for


def predictions_folder(predictions_id: str) -> str:
    """Folder in the storage root that holds a result of scoring."""
    return f"predictions/{predictions_id}"


def to_table(
    ids: np.ndarray,
    probabilities: np.ndarray,
    run: str,
    *,
    classes: Sequence[str],
    names: pa.Array | None = None,
    with_probabilities: bool,
) -> pa.Table:
    """Makes predictions of run `run` from (n,) int64 ids and (n, k) float32 probabilities.

    The label is the most probable one of the k `classes`, the first of them at a tie.
    """
    rows = len(probabilities)
    labels = probabilities.argmax(axis=1)
    columns = {ID: ids} if names is None else {ID: ids, NAME: names}
    columns |= {
        LABEL: labels,
        CLASS: pa.DictionaryArray.from_arrays(labels.astype(np.int32), pa.array(classes)),
        MODEL: pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), pa.array([run])),
    }
    if with_probabilities:
        offsets = np.arange(rows + 1, dtype=np.int32) * len(classes)
        flat = pa.array(probabilities.ravel())
        columns[PROBABILITIES] = pa.ListArray.from_arrays(offsets, flat)
    return pa.table(list(columns.values()), schema=pa.schema(list(columns)))


@dataclass(kw_only=True)
class CollectedLabels:
    """The labels found so far for `ids` (n,) int64, sorted; -1 where there is none yet."""

    ids: np.ndarray
    classes: int
    labels: np.ndarray = field(init=False)
    names: list[str] = field(default_factory=list)  # of the files that they come from

    def __post_init__(self) -> None:
        self.labels = np.full(len(self.ids), -1, np.int64)

    def scored(self) -> np.ndarray:
        """Mask (n,) bool of the ids that have a label."""
        return self.labels >= 0

    def class_counts(self) -> list[int]:
        """Returns how many images have each label."""
        counts = np.bincount(self.labels[self.scored()], minlength=self.classes)
        return [int(count) for count in counts]

    def add_files(self, storage: Storage, prefix: str, names: Iterable[str]) -> list[str]:
        """Adds the labels of these files; returns the names of the files that it refused.

        A file is refused if it cannot be read, or unless each of its ids is one of `ids`, has no
        label yet, and has a label from 0 to classes - 1.
        """
        return [name for name in names if not self._add_file(storage, f"{prefix}/{name}", name)]

    def _add_file(self, storage: Storage, key: str, name: str) -> bool:
        found = _read_labels(storage, key, max_rows=len(self.ids))
        if found is None:
            return False
        ids, labels = found
        rows = np.searchsorted(self.ids, ids)
        rows[rows == len(self.ids)] = 0
        known = (self.ids[rows] == ids).all()
        new = len(np.unique(ids)) == len(ids) and (self.labels[rows] < 0).all()
        if not (known and new and (labels >= 0).all() and (labels < self.classes).all()):
            return False
        self.labels[rows] = labels
        self.names.append(name)
        return True


def _read_labels(
    storage: Storage, key: str, *, max_rows: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns ids and labels, (n,) int64 each, with n > 0; None if the file is no such table."""
    try:
        data = storage.read(key)
    except FileNotFoundError:
        return None
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        if file.metadata.num_rows > max_rows:  # checked before the rows take memory
            return None
        table = file.read(columns=[ID.name, LABEL.name])
    except Exception:  # a damaged file makes Arrow, and Ray's own Arrow types, raise anything
        return None
    expected = [(each.name, str(each.type)) for each in (ID, LABEL)]
    if sorted((each.name, str(each.type)) for each in table.schema) != expected:
        return None
    if not table.num_rows or any(column.null_count for column in table.columns):
        return None
    return np.asarray(table[ID.name]), np.asarray(table[LABEL.name])


def list_label_files(storage: Storage, prefix: str) -> list[str]:
    """Names below `prefix` of all files of predictions, finished or not."""
    keys = storage.keys(f"{prefix}/{LABELS}")
    return [key.removeprefix(f"{prefix}/") for key in keys if key.endswith(SUFFIX)]


def to_submission(ids: np.ndarray, labels: np.ndarray, names: pa.Array | None = None) -> bytes:
    """The competition's CSV: a header `Id,Label`, one line an id, `\\n` line ends.

    Images that have names are called by these, in the same order.
    """
    if names is not None:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("Id", "Label"))
        writer.writerows(zip(names.to_pylist(), labels.tolist(), strict=True))
        return text.getvalue().encode()
    lines = io.BytesIO()
    # Arrow would put quotation marks around the names.
    options = arrow_csv.WriteOptions(include_header=False)
    arrow_csv.write_csv(pa.table([ids, labels], ["Id", "Label"]), lines, options)
    return b"Id,Label\n" + lines.getvalue()
