"""What a finished run leaves: the plain model, its scores, and its page, published together."""

import json
import time
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf

from fmnist import machine
from fmnist.models.architectures import build
from fmnist.models.classifier import Classifier
from fmnist.runs.evaluation import Evaluation, evaluate, to_table
from fmnist.runs.published import HISTORY, METRICS, MODEL
from fmnist.storage.atomic import temporary_folder
from fmnist.storage.manifest import delete_other_attempts, publish, versions
from fmnist.training.checkpoints import epoch_name
from fmnist.training.page import RunPage, run_page
from fmnist.training.worker import distributed

if TYPE_CHECKING:
    from fmnist.training.worker.main import Worker


def publish_outcome(worker: "Worker") -> None:
    """Evaluates what will be published, all ranks together; rank 0 publishes it."""
    model = _plain_model(worker)
    evaluations: dict[str, Evaluation] = {}
    seconds = {"training": sum(row["seconds"] for row in worker.progress.history)}
    for name, part in worker.job.parts.items():
        begin = time.perf_counter()
        images, labels = part.get()
        share = np.array_split(np.arange(part.size), worker.world)[worker.rank]
        probabilities = distributed.gather(worker.strategy, Classifier(model)(images[share]))
        seconds[f"test on {name}"] = time.perf_counter() - begin
        if worker.rank == 0:
            evaluations[name] = evaluate(labels, probabilities, worker.job.task.classes)
    if worker.rank == 0:
        _publish(worker, model, evaluations, seconds)


def _plain_model(worker: "Worker") -> keras.Model:
    """The trained network without what training needs, in float32: it loads anywhere."""
    training = worker.job.training
    model = build(
        training.architecture,
        worker.job.task,
        activation=training.activation,
        precision="float32",
    )
    count = len(model.weights)
    if training.select == "best" and worker.progress.best_epoch:
        values = worker.checkpoints.load(epoch_name(worker.progress.best_epoch))[1]
    else:
        values = worker.values()
    model.set_weights(values[:count])
    return model


def _publish(
    worker: "Worker",
    model: keras.Model,
    evaluations: dict[str, Evaluation],
    seconds: dict[str, float],
) -> None:
    job, history = worker.job, worker.progress.history
    scores = {name: evaluation.to_json() for name, evaluation in evaluations.items()}
    run = {
        **job.details,
        "id": job.id,
        "config": job.config | {"precision": worker.progress.precision},
        **worker.size(),
        "best_epoch": worker.progress.best_epoch,
        "seconds": seconds,
        "versions": versions(),
        "hardware": _hardware(worker),
    }
    with temporary_folder() as folder:
        model.save(folder / MODEL)
        (folder / METRICS).write_text(json.dumps(scores, indent=1, allow_nan=False))
        pq.write_table(to_table(evaluations), folder / "metrics.parquet")
        pq.write_table(pa.Table.from_pylist(history), folder / HISTORY)
        shown = {name: value for name, value in run.items() if name not in ("nodes", "layers")}
        page = run_page(
            RunPage(**{**shown, "task": job.task, "history": history, "evaluations": scores})
        )
        (folder / "report.html").write_text(page, encoding="utf-8")
        headline = {name: _headline(evaluation) for name, evaluation in evaluations.items()}
        details = {**run, "scores": headline}
        publish(job.storage, job.folder, folder, kind="run", id=job.id, details=details)
    delete_other_attempts(job.storage, job.folder)
    worker.checkpoints.tidy()


def _headline(evaluation: Evaluation) -> dict[str, Any]:
    return {name: getattr(evaluation, name) for name in ("examples", "loss", "accuracy")}


def _hardware(worker: "Worker") -> dict[str, Any]:
    return {
        "cpu": machine.processor(),
        "cores": machine.cores(),
        "gpus": len(tf.config.get_visible_devices("GPU")),
        "nodes": worker.job.details["nodes"],
        "workers": worker.world,
    }
