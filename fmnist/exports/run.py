"""Exports the model of a run for another runtime, and checks that it predicts as Keras does."""

from dataclasses import asdict, dataclass
from typing import cast

import numpy as np
import ray

from fmnist.cluster.nodes import on_this_node
from fmnist.cluster.remote import TASK_RETRIES, get_result
from fmnist.data.dataset import Dataset
from fmnist.errors import UserError
from fmnist.exports.formats import FORMATS
from fmnist.job_config import CONFIG, JobConfig
from fmnist.models.classifier import batch_rows, in_batches
from fmnist.runs.published import PublishedModel, load_classifier
from fmnist.stages import stage
from fmnist.storage.atomic import temporary_folder
from fmnist.storage.manifest import Manifest, content_id, publish, read_manifest, versions
from fmnist.storage.open import Storage

MOST_DIFFERENCE = 1e-3  # of a probability; rounding makes some 1e-7


@dataclass(frozen=True, kw_only=True)
class Check:
    """A comparison of a runtime's predictions with Keras' on the same images."""

    images: int
    other_labels: int
    largest_difference: float  # of a probability


def exports_folder(export_id: str) -> str:
    """Folder of an exported model in the storage root."""
    return f"exports/{export_id}"


def export_model(
    model: PublishedModel, format: str, dataset: Dataset, storage: Storage, config: JobConfig
) -> Manifest:
    """Returns the published export; makes it, unless it was made before.

    Raises UserError if there are no test images, or if on one of them the runtime gives another
    label than Keras: nothing is published then.
    """
    export_id = f"{model.run}-{format}-{content_id(model.sha256)}"
    if published := read_manifest(storage, exports_folder(export_id)):
        return published
    if dataset.test is None:
        raise UserError(f"{dataset.source}: has no test part, expected images to check with")
    # A driver has no TensorFlow. The node is this one, which has the packages of the format; as the
    # head of a cluster it may have no CPUs for tasks.
    here = on_this_node()
    task = ray.remote(num_cpus=0, max_retries=TASK_RETRIES, scheduling_strategy=here)(export_here)
    images, source = ray.put(dataset.test.images), dataset.source
    with stage(f"exporting the model and predicting {len(dataset.test):,} images twice"):
        running = task.remote(export_id, model, format, images, source, storage, config)
        return cast(Manifest, get_result(running, f"exporting run {model.run}"))


def export_here(
    export_id: str,
    model: PublishedModel,
    format: str,
    images: np.ndarray,
    source: str,
    storage: Storage,
    config: JobConfig,
) -> Manifest:
    """Does in this process what `export_model` does in another one; `source` is of the images."""
    chosen, classifier = FORMATS[format], load_classifier(model)
    expected = classifier(images)  # first: Keras exports no model to ONNX that was never called
    with temporary_folder() as folder:
        path = folder / chosen.file
        classifier.model.export(path, format=chosen.keras_name, verbose=False)
        rows = batch_rows(classifier.shape)
        predict = chosen.open(path, (rows, *classifier.shape))
        found = in_batches(predict, images, rows, classifier.classes)
        check = compare(expected, found)
        if check.other_labels or check.largest_difference > MOST_DIFFERENCE:
            raise UserError(
                f"run {model.run} as {format}: {check.other_labels} of {check.images} images get "
                f"another label than from Keras, and probabilities differ by up to "
                f"{check.largest_difference:.1e}; expected the same, so nothing is published"
            )
        (folder / CONFIG).write_text(config.to_toml(), encoding="utf-8")
        details = {
            "run": model.run,
            "model": model.sha256,
            "task": model.task.details,
            "format": format,
            "images": source,
            "check": asdict(check),
            "versions": versions(*chosen.packages),
        }
        prefix = exports_folder(export_id)
        return publish(storage, prefix, folder, kind="export", id=export_id, details=details)


def compare(expected: np.ndarray, found: np.ndarray) -> Check:
    """Compares probabilities, each (n, classes) float32."""
    return Check(
        images=len(expected),
        other_labels=int((expected.argmax(axis=1) != found.argmax(axis=1)).sum()),
        largest_difference=float(np.abs(expected - found).max(initial=0)),
    )
