"""Reads what a finished run has published: its task, model, history and evaluations, verified."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from fmnist.errors import UserError
from fmnist.models.architectures import build
from fmnist.models.classifier import Classifier
from fmnist.pages.scores import EvaluationJson
from fmnist.run_settings import Activation, Architecture
from fmnist.runs.history import EpochRow
from fmnist.storage.atomic import temporary_folder
from fmnist.storage.manifest import MANIFEST, Manifest, fetch, read_manifest
from fmnist.storage.open import Storage
from fmnist.tasks import TASKS, Task, task_from_details

MODEL = "model.keras"
HISTORY = "history.parquet"
METRICS = "metrics.json"  # an EvaluationJson for each part of the data


@dataclass(frozen=True, kw_only=True)
class PublishedModel:
    """The model of run `run`: `data` is its `.keras` file, whose SHA-256 in hex is `sha256`.

    `training` are the run's settings, by name; none where its manifest does not have them.
    """

    run: str
    sha256: str
    task: Task
    data: bytes = field(repr=False)
    training: Mapping[str, object] = field(default_factory=dict, repr=False)


def task_of_run(storage: Storage, prefix: str) -> Task:
    """The task that the run in the folder at `prefix` was trained for: a built-in one, or its own.

    Raises UserError if nothing is published there.
    """
    where = f"{storage.uri}/{prefix}"
    details = _task_details(read_run(storage, prefix), where)
    name = details["name"]
    if isinstance(name, str) and name in TASKS:
        return TASKS[name]
    return task_from_details(details, f"{where}: the model's task")


def open_model(storage: Storage, prefix: str, task: Task) -> PublishedModel:
    """The model in the run folder at `prefix`, for `task`; TensorFlow is not needed for this.

    Raises UserError if nothing is published there, if the model is of another task or takes images
    of another shape, or if its file is not the one that was published.
    """
    where = f"{storage.uri}/{prefix}"
    manifest = read_run(storage, prefix)
    _check_task(manifest, task, where)
    data = read_published(storage, prefix, manifest, MODEL)
    digest = manifest.files[MODEL].sha256
    config = manifest.details.get("config")
    return PublishedModel(
        run=manifest.id,
        sha256=digest,
        task=task,
        data=data,
        training=config if isinstance(config, dict) else {},
    )


def check_same_task(storage: Storage, prefix: str, task: Task) -> None:
    """Raises UserError unless the run in the folder at `prefix` was trained for this `task`."""
    where = f"{storage.uri}/{prefix}"
    _check_task(read_run(storage, prefix), task, where)


def load_classifier(
    model: PublishedModel, *, gpu: bool = False, precision: str = "float32"
) -> Classifier:
    """Loads a model with TensorFlow; UserError names the run if it is none for its task.

    For another `precision` than float32, with which it is published, it must be a network of ours.
    """
    with temporary_folder() as folder:
        path = folder / MODEL
        path.write_bytes(model.data)
        try:
            classifier = Classifier(path, gpu=gpu)
        except UserError as error:
            raise UserError(f"run {model.run}: {error}") from error
    task = model.task
    if (classifier.shape, classifier.classes) != (task.shape, len(task.classes)):
        raise UserError(
            f"run {model.run}: its model takes images of {classifier.shape} and has"
            f" {classifier.classes} classes, expected {task.shape} and {len(task.classes)}"
        )
    if precision == "float32":
        return classifier
    return Classifier(_in_precision(classifier.model, model, precision), gpu=gpu)


def _in_precision(found: Any, model: PublishedModel, precision: str) -> Any:
    """Builds the network again as it is trained in that precision, with the weights of `found`."""
    architecture, activation = (model.training.get(name) for name in ("architecture", "activation"))
    built = build(
        cast(Architecture, architecture),
        model.task,
        activation=cast(Activation, activation),
        precision=f"mixed_{precision}",
    )
    if [each.shape for each in built.weights] != [each.shape for each in found.weights]:
        raise UserError(
            f"run {model.run}: its model is not the network {architecture} of this version, "
            "expected precision float32"
        )
    built.set_weights(found.get_weights())
    return built


def read_history(storage: Storage, prefix: str, manifest: Manifest) -> list[EpochRow]:
    """Reads the rows, one an epoch, of the run in the folder at `prefix`, and verifies them."""
    found = read_published(storage, prefix, manifest, HISTORY)
    rows: list[EpochRow] = pq.read_table(pa.BufferReader(found)).to_pylist()
    return rows


def read_evaluations(storage: Storage, prefix: str) -> dict[str, EvaluationJson]:
    """Reads a run's evaluations by part of its data; UserError if nothing is published there."""
    manifest = read_run(storage, prefix)
    found = read_published(storage, prefix, manifest, METRICS)
    evaluations: dict[str, EvaluationJson] = json.loads(found)
    return evaluations


def read_published(storage: Storage, prefix: str, manifest: Manifest, name: str) -> bytes:
    """Returns the content of a published file; raises the UserErrors of `manifest.fetch`."""
    with temporary_folder() as folder:
        return fetch(storage, prefix, manifest, name, folder / "file").read_bytes()


def read_run(storage: Storage, prefix: str) -> Manifest:
    """The manifest of the run in the folder at `prefix`; UserError if none is published there."""
    manifest, where = read_manifest(storage, prefix), f"{storage.uri}/{prefix}"
    if manifest is None:
        raise UserError(f"{where}: found no {MANIFEST}, expected the folder of a finished run")
    if manifest.kind != "run":
        raise UserError(f"{where}: found {manifest.kind!r}, expected a run")
    return manifest


def _task_details(manifest: Manifest, where: str) -> dict[str, Any]:
    found: Any = manifest.details.get("task")
    if not isinstance(found, dict) or not {"name", "classes", "shape"} <= found.keys():
        raise UserError(f"{where}: its {MANIFEST} does not say the model's task")
    return found


def _check_task(manifest: Manifest, task: Task, where: str) -> None:
    found = _task_details(manifest, where)
    problems = [
        f"{where}: the model's {name} is {found[name]!r}, expected {value!r}"
        for name, value in task.details.items()
        if found[name] != value
    ]
    UserError.raise_if(problems)
