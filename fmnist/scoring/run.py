"""Scoring a data set with a published model: a Parquet data set of labels and `submission.csv`.

The same model and images give the same labels, whatever the number of actors: each predicts with
one thread in batches of one fixed shape. A job that was killed goes on with what is not scored.
"""

import logging
import secrets
import time
from contextlib import suppress

import numpy as np

from fmnist.cluster.resources import scoring_pool_size
from fmnist.job_config import CONFIG, JobConfig
from fmnist.runs.published import PublishedModel
from fmnist.scoring.inputs import Inputs
from fmnist.scoring.job import ScoringJob, predictions_id
from fmnist.scoring.pipeline import write_labels
from fmnist.scoring.predictions import (
    SUBMISSION,
    CollectedLabels,
    list_label_files,
    predictions_folder,
    to_submission,
)
from fmnist.scoring.settings import USUAL, PredictionSettings
from fmnist.storage.lease import LEASE, Lease, LeaseLost, hold_lease
from fmnist.storage.manifest import Manifest, publish_keys, read_manifest, versions
from fmnist.storage.open import Storage

log = logging.getLogger(__name__)

ROWS_PER_FILE = 50_000


def score(
    *,
    model: PublishedModel,
    inputs: Inputs,
    storage: Storage,
    actors: int | str | None = None,
    settings: PredictionSettings = USUAL,
    rows_per_file: int = ROWS_PER_FILE,
    config: JobConfig | None = None,
) -> Manifest:
    """Returns the published predictions of the model for the inputs; makes them unless they exist.

    They are Parquet files in `labels/` (id int64, label int64, class and model string, and if asked
    for `probabilities`, a list of float32) and `submission.csv`. `actors` is a number or a range
    such as 2:16; by default there are as many as the cluster has room for, and it may grow. Of jobs
    that score the same at once one does it, and the others wait. `config`, the flags of the job, is
    published too. Raises UserError for more actors than the cluster can have, a GPU that TensorFlow
    doesn't see, a model that can't predict, actors that die each time, and data that change.
    """
    folder = predictions_folder(predictions_id(model, inputs, settings))
    if published := read_manifest(storage, folder):
        return _without_leftovers(storage, folder, published)
    job = ScoringJob(
        model=model,
        inputs=inputs,
        storage=storage,
        pool_size=scoring_pool_size(actors, cpus=settings.cpus, gpu=settings.gpu),
        settings=settings,
        rows_per_file=rows_per_file,
        config=config,
    )
    while True:
        lease_key = f"{folder}/{LEASE}"
        with suppress(LeaseLost), hold_lease(storage, lease_key, notify=log.warning) as lease:
            return _score(job, lease)


def are_published(
    model: PublishedModel, inputs: Inputs, settings: PredictionSettings, storage: Storage
) -> bool:
    """Returns True if `score` finds these predictions finished, for which it needs no Ray."""
    folder = predictions_folder(predictions_id(model, inputs, settings))
    return read_manifest(storage, folder) is not None


def _score(job: ScoringJob, lease: Lease) -> Manifest:
    """Raises LeaseLost before it publishes anything if another job has taken over."""
    storage, folder = job.storage, job.folder
    if published := read_manifest(storage, folder):
        return _without_leftovers(storage, folder, published)
    begin = time.perf_counter()
    collected = CollectedLabels(ids=job.inputs.ids, classes=len(job.model.task.classes))
    collected.add_files(storage, folder, list_label_files(storage, folder))
    taken_over = int(np.count_nonzero(collected.scored()))
    if taken_over < len(collected.ids):
        refused = _score_the_rest(job, collected)
        if published := read_manifest(storage, folder):  # by a job that took this one for dead
            return _without_leftovers(storage, folder, published)
        if not job.inputs.are_unchanged():
            raise job.inputs.changed_error("its files were replaced or rewritten")
        lease.check()
        _check_complete(collected, refused)
    seconds = round(time.perf_counter() - begin, 3)
    published = _publish(job, collected, taken_over=taken_over, seconds=seconds)
    return _without_leftovers(storage, folder, published)


def _score_the_rest(job: ScoringJob, collected: CollectedLabels) -> list[str]:
    """Scores the images that have no label yet; returns the names of new files that don't fit."""
    attempt = secrets.token_hex(4)
    write_labels(job, collected.scored(), attempt)
    names = list_label_files(job.storage, job.folder)
    written = [name for name in names if f"/{attempt}_" in name]
    return collected.add_files(job.storage, job.folder, written)


def _check_complete(collected: CollectedLabels, refused: list[str]) -> None:
    missing = int(np.count_nonzero(~collected.scored()))
    if refused or missing:
        raise RuntimeError(
            f"{missing} of {len(collected.ids)} images have no label, and {len(refused)} files have"
            f" rows that don't belong: {', '.join(refused[:3])}"
        )


def _publish(
    job: ScoringJob, collected: CollectedLabels, *, taken_over: int, seconds: float
) -> Manifest:
    """Writes the submission, and the manifest that makes the result real."""
    model, inputs, storage = job.model, job.inputs, job.storage
    submission = to_submission(collected.ids, collected.labels, inputs.names)
    storage.write(f"{job.folder}/{SUBMISSION}", submission)
    details = {
        "run": model.run,
        "model_sha256": model.sha256,
        "task": {"name": model.task.name, "classes": list(model.task.classes)},
        "dataset": {"source": inputs.source, "fingerprint": inputs.fingerprint},
        "versions": versions(),
        "images": len(inputs.ids),
        "class_counts": collected.class_counts(),
        "taken_over": taken_over,  # labels from an earlier attempt
        "actors": job.pool_size[1],
        "cpus_per_actor": job.settings.cpus,
        "device": "gpu" if job.settings.gpu else "cpu",
        "tta": job.settings.tta,
        "precision": job.settings.precision,
        "seconds": seconds,
    }
    names = [*collected.names, SUBMISSION]
    if job.config:
        # Never replaced: a job that was taken for dead could do so after its digest is published.
        storage.create(f"{job.folder}/{CONFIG}", job.config.to_toml().encode())
        names.append(CONFIG)
    return publish_keys(storage, job.folder, names, kind="predictions", id=job.id, details=details)


def _without_leftovers(storage: Storage, folder: str, published: Manifest) -> Manifest:
    """Deletes the files of other attempts, so that `labels/` can be read without the manifest."""
    for name in list_label_files(storage, folder):
        if name not in published.files:
            storage.delete(f"{folder}/{name}")
    return published
