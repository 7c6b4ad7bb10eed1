"""Checks the data of a retraining against those of its champion, before anything is trained."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray

from fmnist.cluster.data_pipelines import data_context
from fmnist.cluster.remote import TASK_RETRIES, bound_retries, find_cause, get_result
from fmnist.data.dataset import labelled
from fmnist.data.formats.parquet_schema import check_table
from fmnist.drift.check import DataCheck, NewData, check_data
from fmnist.drift.image_statistics import image_statistics, statistic_names
from fmnist.drift.reference import ImageSample, read_reference, sample_positions
from fmnist.errors import UserError
from fmnist.retraining.plan import Plan
from fmnist.runs.ids import run_folder
from fmnist.runs.published import PublishedModel, load_classifier, open_model
from fmnist.scoring.inputs import Inputs, Reader
from fmnist.stages import stage
from fmnist.storage.errors import READ_ERRORS
from fmnist.storage.manifest import read_manifest
from fmnist.storage.open import Storage

ACTION = "looking at the images to score"


def check_plan(plan: Plan, inputs: Inputs, storage: Storage) -> DataCheck | None:
    """Compares the plan's data and the images to score with the data of the champion.

    That is the champion before a promotion that is still to be published. Returns None if there is
    none, or if that one was pruned since. Raises the UserErrors of `read_reference` and
    `open_model`, and those of the data.
    """
    champion = plan.pending.result.before if plan.pending else plan.champion
    if champion is None:
        return None
    if plan.pending and not read_manifest(storage, run_folder(champion.run)):
        return None
    task, train = plan.dataset.task, labelled(plan.dataset)
    reference = read_reference(storage, champion.run, task.shape[2])
    model = open_model(storage, run_folder(champion.run), task)
    with stage("checking the data against the champion's"):
        positions = sample_positions(len(inputs.ids))
        look = ray.remote(max_retries=TASK_RETRIES)(_look_at)
        read, sample = inputs.reader(positions), inputs.ids[positions]
        scored, predicted = get_result(look.remote(model, read, sample), ACTION)
        assert train.labels is not None
        new = NewData(
            labels=np.bincount(train.labels, minlength=len(task.classes)),
            images=image_statistics(train.images, sample_positions(len(train))),
            scored=scored,
            predicted=predicted,
        )
        return check_data(reference, new, task)


def _look_at(
    model: PublishedModel, read: Reader, ids: np.ndarray
) -> tuple[ImageSample, np.ndarray]:
    """Returns a sample of the images with these ids, and the number that is predicted per class."""
    bound_retries()
    classifier = load_classifier(model)
    statistics = [np.empty((0, len(statistic_names(classifier.shape[2]))), np.float32)]
    probabilities = [np.empty((0, classifier.classes), np.float32)]
    with data_context():
        # No CPU, since this process may have the only one.
        chosen = read().map_batches(
            _choose, fn_args=[ids], batch_size=None, batch_format="pyarrow", num_cpus=0
        )
        try:
            for table in chosen.iter_batches(batch_size=None, batch_format="pyarrow"):
                images = check_table(table, model.task, where="a block of images").images
                statistics.append(image_statistics(images))
                probabilities.append(classifier(images))
        except (ray.exceptions.RayError, UserError, *READ_ERRORS) as error:
            raise find_cause(error, ACTION) or error from None
    found = np.concatenate(probabilities)
    if not np.isfinite(found).all():
        raise UserError(f"run {model.run}: its model gives NaN, expected finite probabilities")
    predicted = np.bincount(found.argmax(axis=1), minlength=classifier.classes)
    sample = ImageSample(statistics=np.concatenate(statistics), confidence=found.max(axis=1))
    return sample, predicted


def _choose(table: pa.Table, ids: np.ndarray) -> pa.Table:
    return table.filter(pc.is_in(table["id"], value_set=pa.array(ids, table["id"].type)))
