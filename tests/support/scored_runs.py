"""Published runs with scores, but without a model: for whatever lists and compares runs."""

import json
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np

from fmnist.run_settings import Cluster, Training
from fmnist.runs.evaluation import Evaluation, evaluate
from fmnist.runs.ids import run_folder, run_id
from fmnist.runs.published import METRICS
from fmnist.storage.manifest import publish
from fmnist.storage.open import Storage
from tests.support.samples import SHAPES

IMAGES = 400


def publish_scored(
    storage: Storage,
    training: Training,
    *,
    accuracy: float,
    fingerprint: str = "c0ffee",
) -> str:
    """Publishes a run that has this share of each class right, in each part; returns its id."""
    run = run_id(SHAPES, training, fingerprint)
    evaluations = {part: _evaluation(accuracy) for part in ("train", "validation", "test")}
    metrics = {part: evaluation.to_json() for part, evaluation in evaluations.items()}
    details = {
        "task": SHAPES.details,
        "dataset": {"source": "samples", "fingerprint": fingerprint},
        "config": asdict(training) | asdict(Cluster()),
        "finished_at": "2026-01-31T12:00:00+00:00",
        "command": "fmnist train " + "--a-flag value " * 12,
        "scores": {
            part: {
                "examples": IMAGES,
                "loss": found.loss,
                "accuracy": found.accuracy,
                "accuracy_interval": list(found.intervals["accuracy"]),
            }
            for part, found in evaluations.items()
        },
    }
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, METRICS).write_text(json.dumps(metrics, allow_nan=False))
        Path(folder, "report.html").write_text(run)
        publish(storage, run_folder(run), Path(folder), kind="run", id=run, details=details)
    return run


def _evaluation(accuracy: float) -> Evaluation:
    classes = len(SHAPES.classes)
    labels = np.arange(IMAGES) % classes
    right = np.arange(IMAGES) // classes < round(accuracy * IMAGES / classes)
    predicted = np.where(right, labels, (labels + 1) % classes)
    probabilities = np.full((IMAGES, classes), 0.1) + np.eye(classes)[predicted] * (
        1 - 0.1 * classes
    )
    return evaluate(labels, probabilities, SHAPES.classes)
