"""Publishes a finished run: the plain model, its scores, its history, its page and its card."""

import json
import time
from datetime import UTC, datetime
from typing import Any

import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf

from fmnist import machine
from fmnist.data.streaming.ahead import ahead
from fmnist.data.streaming.images import StreamedImages
from fmnist.drift import reference
from fmnist.drift.image_statistics import image_statistics, statistic_names
from fmnist.drift.reference import STATISTICS, ImageSample, sample_positions
from fmnist.job_config import CONFIG, NETWORK
from fmnist.models.architectures import build
from fmnist.models.classifier import Classifier, batch_rows
from fmnist.pages.html import PAGE
from fmnist.pages.scores import EvaluationJson
from fmnist.runs.card import CARD, model_card
from fmnist.runs.evaluation import Evaluation, evaluate, to_table
from fmnist.runs.page import RunPage, run_page
from fmnist.runs.published import HISTORY, METRICS, MODEL
from fmnist.storage.atomic import temporary_folder
from fmnist.storage.manifest import delete_other_attempts, publish, versions
from fmnist.training.checkpoints import epoch_name
from fmnist.training.worker import distributed
from fmnist.training.worker.callback import Diverged
from fmnist.training.worker.session import Session

CHUNK_BATCHES = 8  # of the classifier, whose images are read at once


def publish_run(session: Session) -> None:
    """Evaluates the model on all splits, the ranks together; then rank 0 publishes the run."""
    model = _plain_model(session)
    evaluations: dict[str, Evaluation] = {}
    samples: dict[str, ImageSample] = {}
    seconds = {"training": sum(row["seconds"] for row in session.state.history)}
    for name, split in session.spec.splits.items():
        begin = time.perf_counter()
        images, labels = split.open()
        positions = split.evaluated()
        share = np.array_split(positions, session.world)[session.rank]
        chosen = sample_positions(len(positions))
        found = _predict(Classifier(model), images, share, sampled=positions[chosen])
        found = distributed.gather_rows(session.strategy, found)
        classes = len(session.spec.task.classes)
        probabilities = np.ascontiguousarray(found[:, :classes])
        if not np.isfinite(probabilities).all():  # on all ranks; the last step made the weights so
            raise Diverged(
                "the probabilities are not finite after the last epoch; expected finite numbers: "
                "try a lower learning rate"
            )
        seconds[f"test on {name}"] = time.perf_counter() - begin
        if session.rank == 0:
            truth = labels[positions].astype(np.int64, copy=False)
            evaluations[name] = evaluate(truth, probabilities, session.spec.task.classes)
            confidence = probabilities[chosen].max(axis=1)
            samples[name] = ImageSample(statistics=found[chosen, classes:], confidence=confidence)
    if session.rank == 0:
        _publish(session, model, evaluations, samples, seconds)


def _predict(
    classifier: Classifier,
    images: np.ndarray | StreamedImages,
    positions: np.ndarray,
    *,
    sampled: np.ndarray,
) -> np.ndarray:
    """Probabilities and statistics of these images, float32 (n, classes + statistics).

    The statistics are NaN but for the images that are sampled. Few images are in memory at a time.
    """
    rows = CHUNK_BATCHES * batch_rows(classifier.shape)
    columns = len(statistic_names(classifier.shape[2]))
    chunks = [positions[start : start + rows] for start in range(0, len(positions), rows)]
    found = [np.empty((0, classifier.classes + columns), np.float32)]
    for chunk, pixels in zip(chunks, ahead((images[each] for each in chunks), 1), strict=True):
        statistics = np.full((len(chunk), columns), np.nan, np.float32)
        here = np.isin(chunk, sampled)
        statistics[here] = image_statistics(pixels[here])
        found.append(np.concatenate([classifier(pixels), statistics], axis=1))
    return np.concatenate(found)


def _plain_model(session: Session) -> keras.Model:
    """Builds the trained network in float32 and without the optimizer, so that it loads anywhere.

    Its weights are those of the last epoch, or of the best one if that is configured; or their
    moving average.
    """
    training, state = session.spec.training, session.state
    model = build(
        training.architecture,
        session.spec.task,
        activation=training.activation,
        precision="float32",
        own=session.spec.network,
    )
    if training.select == "best" and state.best_epoch:
        values = session.checkpoints.load(epoch_name(state.best_epoch))[1]
    else:
        values = session.variable_values()
    model.set_weights(session.published_weights(values))
    return model


def _publish(
    session: Session,
    model: keras.Model,
    evaluations: dict[str, Evaluation],
    samples: dict[str, ImageSample],
    seconds: dict[str, float],
) -> None:
    spec = session.spec
    scores = {name: evaluation.to_json() for name, evaluation in evaluations.items()}
    page = _page(session, scores, seconds)
    details = {
        **spec.details,
        "id": spec.id,
        "config": page.config,
        **session.network_size(),
        "best_epoch": page.best_epoch,
        "seconds": seconds,
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": page.versions,
        "hardware": page.hardware,
        "scores": {name: _headline(evaluation) for name, evaluation in evaluations.items()},
    }
    with temporary_folder() as folder:
        model.save(folder / MODEL)
        (folder / METRICS).write_text(json.dumps(scores, indent=1, allow_nan=False))
        pq.write_table(to_table(evaluations), folder / "metrics.parquet")
        pq.write_table(pa.Table.from_pylist(page.history), folder / HISTORY)
        table = reference.to_table(samples, spec.task.shape[2])
        pq.write_table(table, folder / STATISTICS)
        (folder / PAGE).write_text(run_page(page), encoding="utf-8")
        (folder / CARD).write_text(model_card(page), encoding="utf-8")
        if spec.network:
            (folder / NETWORK).write_text(spec.network.source, encoding="utf-8")
        if spec.config_file is not None:
            (folder / CONFIG).write_text(spec.config_file, encoding="utf-8")
        publish(spec.storage, spec.folder, folder, kind="run", id=spec.id, details=details)
    delete_other_attempts(spec.storage, spec.folder)
    session.checkpoints.remove_leftovers()


def _page(
    session: Session, scores: dict[str, EvaluationJson], seconds: dict[str, float]
) -> RunPage:
    spec, state = session.spec, session.state
    return RunPage(
        id=spec.id,
        task=spec.task,
        command=spec.details["command"],
        config=spec.config | {"precision": state.precision},
        parameters=session.network_size()["parameters"],
        best_epoch=state.best_epoch,
        history=state.history,
        evaluations=scores,
        seconds=seconds,
        dataset=spec.details["dataset"],
        versions=versions(),
        hardware=_hardware(session),
    )


def _headline(evaluation: Evaluation) -> dict[str, Any]:
    """Returns the scores that the manifest itself has."""
    scores = {name: getattr(evaluation, name) for name in ("examples", "loss", "accuracy")}
    return scores | {"accuracy_interval": list(evaluation.intervals["accuracy"])}


def _hardware(session: Session) -> dict[str, Any]:
    return {
        "cpu": machine.processor(),
        "cores": machine.cores(),
        "gpus": len(tf.config.get_visible_devices("GPU")),
        "nodes": session.spec.details["nodes"],
        "workers": session.world,
    }
