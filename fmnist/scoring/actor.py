"""The actor of a scoring job: it loads the model once, and turns images into predictions."""

from functools import cached_property

import numpy as np
import pyarrow as pa
import ray

from fmnist.cluster.remote import get_result
from fmnist.data.dataset import Examples
from fmnist.data.fingerprints import row_digests, short_hashes
from fmnist.data.formats.parquet_schema import check_table
from fmnist.errors import UserError
from fmnist.models.classifier import Classifier, limit_threads
from fmnist.runs.published import PublishedModel, load_classifier
from fmnist.scoring.predictions import to_table
from fmnist.scoring.settings import PredictionSettings
from fmnist.scoring.supervisor import SupervisorHandle


class DataChanged(Exception):  # noqa: N818 - the job turns it into an error that names the data
    """An image is not the one that was there when the data were read first."""


class ScoringActor:
    """Callable for Ray Data's `map_batches`: a table of id and image → a table of predictions.

    `model` and `expected` are references to the object store, so that all actors of a node share
    the memory. `expected` are four arrays (n,): the sorted ids of all images, their short hashes, a
    mask of those that are scored already and left out, and names or None. It predicts according to
    the `settings`, with `gpu` on the GPU that Ray gave to it, and reports each block to the
    `supervisor`.
    Raises DataChanged for an image that is not among the expected ones, and UserError for a model
    that gives NaN.
    """

    def __init__(
        self,
        model: ray.ObjectRef,
        expected: ray.ObjectRef,
        *,
        settings: PredictionSettings,
        supervisor: SupervisorHandle,
    ) -> None:
        self._model: PublishedModel = ray.get(model)
        self._ids, self._hashes, self._scored, self._names = ray.get(expected)
        self._settings = settings
        self._supervisor = supervisor
        self._id = ray.get_runtime_context().get_actor_id()

    def __call__(self, table: pa.Table) -> pa.Table:
        get_result(self._supervisor.begin.remote(self._id), "counting the starts of an actor")
        predictions = self._predict(table)
        self._supervisor.finish.remote(self._id, len(predictions))
        return predictions

    def _predict(self, table: pa.Table) -> pa.Table:
        examples = check_table(table, self._model.task, where="a block of images")
        rows = self._find_rows(examples)
        scored = self._scored[rows]
        if scored.any():
            examples, rows = examples.take(~scored), rows[~scored]
        probabilities = self._probabilities(examples.images)
        if not np.isfinite(probabilities).all():
            row = int((~np.isfinite(probabilities)).any(axis=1).argmax())
            raise UserError(
                f"run {self._model.run}: its model gives {probabilities[row]} for id"
                f" {examples.ids[row]}, expected finite numbers"
            )
        return to_table(
            examples.ids,
            probabilities,
            self._model.run,
            classes=self._model.task.classes,
            names=None if self._names is None else self._names.take(pa.array(rows)),
            with_probabilities=self._settings.probabilities,
        )

    def _probabilities(self, images: np.ndarray) -> np.ndarray:
        probabilities = self._classifier(images)
        if self._settings.tta == "flip":
            mirrored = self._classifier(images[:, :, ::-1])
            probabilities = (probabilities + mirrored) / np.float32(2)
        return probabilities

    def _find_rows(self, examples: Examples) -> np.ndarray:
        """Positions (n,) of the images among the expected ones."""
        rows = np.searchsorted(self._ids, examples.ids)
        rows[rows == len(self._ids)] = 0
        found = short_hashes(row_digests(examples))
        same = (self._ids[rows] == examples.ids) & (self._hashes[rows] == found)
        if not same.all():
            raise DataChanged(f"id {examples.ids[same.argmin()]} is new or has another image")
        return rows

    @cached_property
    def _classifier(self) -> Classifier:
        # Not in __init__, where Ray would wrap a failure in a report of a dead actor.
        settings = self._settings
        limit_threads(settings.cpus, gpu=settings.gpu)
        return load_classifier(self._model, gpu=settings.gpu, precision=settings.precision)
