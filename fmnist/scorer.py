"""The actor of a scoring job: it loads the model once, and turns images into labels."""

from functools import cached_property

import numpy as np
import pyarrow as pa
import ray

from fmnist.dataset import Examples
from fmnist.errors import UserError
from fmnist.fingerprints import marks, row_digests
from fmnist.inference import Classifier, limit_threads, open_classifier
from fmnist.parquet import check_table
from fmnist.published import PublishedModel


class Changed(Exception):  # noqa: N818 - it is an outcome
    """The data are no longer what was surveyed."""


class Scorer:
    """For Ray Data's `map_batches`: a table of id and image → a table of id, label and model.

    `model`, `scored` (sorted ids to leave out) and `expected` (the sorted ids and their marks, as
    they were surveyed) are references to the object store, so that all actors of a node share them.
    With `probabilities`, a column of them is added. Raises Changed for any other image.
    """

    def __init__(
        self,
        model: ray.ObjectRef,
        scored: ray.ObjectRef,
        expected: ray.ObjectRef,
        *,
        probabilities: bool,
    ) -> None:
        self._model: PublishedModel = ray.get(model)
        self._scored: np.ndarray = ray.get(scored)
        self._ids, self._marks = ray.get(expected)
        self._probabilities = probabilities

    def __call__(self, table: pa.Table) -> pa.Table:
        examples = check_table(table, self._model.task, where="a block of images")
        self._check_unchanged(examples)
        if len(self._scored):
            examples = examples.take(~np.isin(examples.ids, self._scored))
        probabilities = self._classifier(examples.images)
        if not np.isfinite(probabilities).all():
            row = int((~np.isfinite(probabilities)).any(axis=1).argmax())
            raise UserError(
                f"run {self._model.run}: its model gives {probabilities[row]} for id"
                f" {examples.ids[row]}, expected finite numbers"
            )
        run = pa.DictionaryArray.from_arrays(
            pa.array(np.zeros(len(examples), np.int32)), pa.array([self._model.run])
        )
        columns = {"id": examples.ids, "label": probabilities.argmax(axis=1), "model": run}
        if self._probabilities:
            flat = pa.array(probabilities.ravel())
            offsets = np.arange(len(examples) + 1, dtype=np.int32) * probabilities.shape[1]
            columns["probabilities"] = pa.ListArray.from_arrays(offsets, flat)
        return pa.table(columns)

    def _check_unchanged(self, examples: Examples) -> None:
        rows = np.searchsorted(self._ids, examples.ids)
        rows[rows == len(self._ids)] = 0
        found = marks(row_digests(examples))
        same = (self._ids[rows] == examples.ids) & (self._marks[rows] == found)
        if not same.all():
            raise Changed(f"id {examples.ids[same.argmin()]} is new or has another image")

    @cached_property
    def _classifier(self) -> Classifier:
        # Not in __init__, where Ray would wrap a failure in a report of a dead actor.
        limit_threads(1)
        return open_classifier(self._model)
