"""The actor of a scoring job: it loads the model once, and turns images into labels."""

from functools import cached_property

import numpy as np
import pyarrow as pa
import ray

from fmnist.data.dataset import Examples
from fmnist.data.fingerprints import row_digests, short_hashes
from fmnist.data.formats.parquet_schema import check_table
from fmnist.errors import UserError
from fmnist.models.classifier import Classifier, limit_threads
from fmnist.runs.published import PublishedModel, load_classifier


class Changed(Exception):  # noqa: N818 - it is an outcome
    """The data are no longer what was surveyed."""


class Scorer:
    """For Ray Data's `map_batches`: a table of id and image → a table of id, label and model.

    `model` and `expected` are references to the object store, so that all actors of a node share
    what they hold. `expected` are three arrays (n,): the sorted ids and their marks, as they were
    surveyed, and whether each is scored already and left out. With `probabilities`, a column of
    them is added. With `gpu`, it predicts on the one that Ray gave to the actor. Raises Changed for
    any other image.
    """

    def __init__(
        self,
        model: ray.ObjectRef,
        expected: ray.ObjectRef,
        *,
        probabilities: bool,
        gpu: bool,
    ) -> None:
        self._model: PublishedModel = ray.get(model)
        self._ids, self._marks, self._scored = ray.get(expected)
        self._probabilities = probabilities
        self._gpu = gpu

    def __call__(self, table: pa.Table) -> pa.Table:
        examples = check_table(table, self._model.task, where="a block of images")
        scored = self._scored[self._rows(examples)]
        if scored.any():
            examples = examples.take(~scored)
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

    def _rows(self, examples: Examples) -> np.ndarray:
        """Where the images are among those that were surveyed."""
        rows = np.searchsorted(self._ids, examples.ids)
        rows[rows == len(self._ids)] = 0
        found = short_hashes(row_digests(examples))
        same = (self._ids[rows] == examples.ids) & (self._marks[rows] == found)
        if not same.all():
            raise Changed(f"id {examples.ids[same.argmin()]} is new or has another image")
        return rows

    @cached_property
    def _classifier(self) -> Classifier:
        # Not in __init__, where Ray would wrap a failure in a report of a dead actor.
        limit_threads(1, gpu=self._gpu)
        return load_classifier(self._model, gpu=self._gpu)
