"""Scoring a data set with a published model: a Parquet data set of labels and `submission.csv`.

The same model and images give the same labels, whatever the number of actors: each predicts with
one thread in batches of one fixed shape. What a GPU gives differs from what a CPU gives in the last
digits, and is a result of its own. A job that was killed goes on with what is not scored.
"""

import logging
import secrets
import time
from contextlib import suppress
from typing import Any

import numpy as np

from fmnist.cluster.resources import scoring_pool_size
from fmnist.runs.published import PublishedModel
from fmnist.scoring.inputs import Inputs
from fmnist.scoring.labels import LABELS, SUBMISSION, Collected, label_files, submission
from fmnist.scoring.pipeline import write_labels
from fmnist.storage.lease import LEASE, Lease, LeaseLost, hold_lease
from fmnist.storage.manifest import Manifest, content_id, publish_keys, read_manifest, versions
from fmnist.storage.open import Storage

log = logging.getLogger(__name__)

FORMAT = 1  # raised when the same model and images would give other files
ROWS_PER_FILE = 50_000  # a killed job scores again at most what its unfinished file would hold


def predictions_folder(predictions_id: str) -> str:
    """Where in the storage root a result of scoring lies."""
    return f"predictions/{predictions_id}"


def predictions_id(
    model: PublishedModel, inputs: Inputs, *, probabilities: bool, gpu: bool = False
) -> str:
    """Follows from model, images and options alone: submitted again, a job finds its result."""
    on = ["gpu"] if gpu else []
    return content_id(FORMAT, model.run, model.sha256, inputs.fingerprint, probabilities, *on)


def score(
    *,
    model: PublishedModel,
    inputs: Inputs,
    storage: Storage,
    actors: int | None = None,
    gpu: bool = False,
    probabilities: bool = False,
    rows_per_file: int = ROWS_PER_FILE,
) -> Manifest:
    """The published predictions of the model for the inputs, made now unless they are there.

    They are Parquet files in `labels/` (id int64, label int64, model string, and if asked for
    `probabilities`, a list of float32) and `submission.csv`. `actors` predict at the same time, by
    default one for each CPU of the cluster, or with `gpu` for each GPU; where it autoscales, as
    many as there is work for. Of jobs that score the same at once one does it, and the others wait.
    Raises UserError for more actors than the cluster can have CPUs or GPUs, for a GPU that
    TensorFlow doesn't see, for a model that can't predict, for actors that die each time, and for
    data that change meanwhile.
    """
    identity = predictions_id(model, inputs, probabilities=probabilities, gpu=gpu)
    prefix = predictions_folder(identity)
    if published := read_manifest(storage, prefix):
        return _tidy(storage, prefix, published)
    pool = scoring_pool_size(actors, gpu=gpu)
    while True:
        with (
            suppress(LeaseLost),
            hold_lease(storage, f"{prefix}/{LEASE}", tell=log.warning) as lease,
        ):
            return _score(
                model, inputs, storage, identity, pool, gpu, probabilities, rows_per_file, lease
            )


def _score(
    model: PublishedModel,
    inputs: Inputs,
    storage: Storage,
    identity: str,
    pool: tuple[int, int],
    gpu: bool,
    probabilities: bool,
    rows_per_file: int,
    lease: Lease,
) -> Manifest:
    """Raises LeaseLost before it publishes anything if another job has taken over."""
    prefix = predictions_folder(identity)
    if published := read_manifest(storage, prefix):
        return _tidy(storage, prefix, published)
    begin = time.perf_counter()
    collected = Collected(ids=inputs.ids, classes=len(model.task.classes))
    collected.take_over(storage, prefix, label_files(storage, prefix))
    scored = collected.scored()
    if not scored.all():
        attempt = secrets.token_hex(4)
        write_labels(
            model,
            inputs,
            scored,
            storage=storage,
            folder=f"{prefix}/{LABELS}",
            attempt=attempt,
            actors=pool,
            gpu=gpu,
            probabilities=probabilities,
            rows_per_file=rows_per_file,
        )
        written = [name for name in label_files(storage, prefix) if f"/{attempt}_" in name]
        unfit = collected.take_over(storage, prefix, written)
        if published := read_manifest(storage, prefix):  # by a job that took this one for dead
            return _tidy(storage, prefix, published)
        if not inputs.same():
            raise inputs.changed("its files were replaced or rewritten")
        lease.check()
        _check_complete(collected, unfit)
    storage.write(f"{prefix}/{SUBMISSION}", submission(collected.ids, collected.labels))
    details = {
        **_details(model, inputs),
        "images": len(inputs.ids),
        "taken_over": int(np.count_nonzero(scored)),  # from an earlier attempt
        "actors": pool[1],
        "device": "gpu" if gpu else "cpu",
        "seconds": round(time.perf_counter() - begin, 3),
    }
    names = [*collected.names, SUBMISSION]
    published = publish_keys(
        storage, prefix, names, kind="predictions", id=identity, details=details
    )
    return _tidy(storage, prefix, published)


def _details(model: PublishedModel, inputs: Inputs) -> dict[str, Any]:
    return {
        "run": model.run,
        "model_sha256": model.sha256,
        "task": {"name": model.task.name, "classes": list(model.task.classes)},
        "dataset": {"source": inputs.source, "fingerprint": inputs.fingerprint},
        "versions": versions(),
    }


def _check_complete(collected: Collected, unfit: list[str]) -> None:
    missing = int(np.count_nonzero(collected.labels < 0))
    if unfit or missing:
        raise RuntimeError(
            f"{missing} of {len(collected.ids)} images have no label, and {len(unfit)} files have"
            f" rows that don't belong: {', '.join(unfit[:3])}"
        )


def _tidy(storage: Storage, prefix: str, published: Manifest) -> Manifest:
    """Removes what other attempts left, so that the folder can be read without the manifest."""
    for name in label_files(storage, prefix):
        if name not in published.files:
            storage.delete(f"{prefix}/{name}")
    return published
