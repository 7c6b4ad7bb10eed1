"""Made-up runs for the page of a run."""

import math
from dataclasses import replace
from typing import Any

import numpy as np

from fmnist.pages.scores import EvaluationJson
from fmnist.runs.evaluation import evaluate
from fmnist.runs.history import EpochRow
from fmnist.runs.page import RunPage
from fmnist.tasks import FASHION


def scores(n: int, classes: tuple[str, ...]) -> EvaluationJson:
    """Returns the evaluation of n random, mostly right predictions."""
    random = np.random.default_rng(n)
    labels = np.arange(n) % len(classes)
    odds = np.exp(random.normal(size=(n, len(classes))) + 3 * np.eye(len(classes))[labels])
    return evaluate(labels, odds / odds.sum(axis=1, keepdims=True), classes).to_json()


def history(epochs: int, *, validation: bool = True) -> list[EpochRow]:
    rows = []
    for epoch in range(1, epochs + 1):
        loss = 0.2 + 0.7 * math.exp(-epoch / 4)
        row: EpochRow = {
            "epoch": epoch,
            "loss": loss,
            "accuracy": 1 - loss / 3,
            "learning_rate": 0.001,
            "seconds": 12.3,
            "images_per_second": 70.0,
        }
        if validation:
            row |= {"val_loss": loss, "val_accuracy": 0.9}
        rows.append(row)
    return rows


def a_run(classes: tuple[str, ...] = FASHION.classes, **changes: Any) -> RunPage:
    run = RunPage(
        id="9f3c1a77b02e",
        task=replace(FASHION, classes=classes),
        command="python -m jobs.train --recipe quick",
        config={"architecture": "cnn", "learning_rate": 0.001, "batch": 1024},
        parameters=6_484_330,
        best_epoch=7,
        history=history(8),
        evaluations={part: scores(n, classes) for part, n in (("train", 900), ("test", 600))},
        seconds={"training": 98.76, "test on test": 1.23},
        dataset={"source": "a folder", "fingerprint": "c0ffee" * 10, "train": 900, "test": 600},
        versions={"keras": "3.15.1"},
        hardware={"cpu": "a processor", "cores": 2, "gpus": 0, "nodes": 1, "workers": 2},
    )
    return replace(run, **changes)
