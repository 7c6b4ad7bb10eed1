"""A comparison as a sweep leaves it, with made-up but realistic numbers."""

import math

import numpy as np

from fmnist.comparison import paper
from fmnist.comparison.page import Evidence
from fmnist.runs.evaluation import evaluate
from fmnist.tasks import COMPETITION

LAYERS = {"dense": 5, "cnn": 6, "resnet": 11, "inception": 11}
SECONDS = {"dense": 1.2, "cnn": 9.7, "resnet": 48.0, "inception": 31.0}
PARAMETERS = {"dense": 1_398_597, "cnn": 6_484_165, "resnet": 6_753_669, "inception": 325_261}


HOSTILE = (
    "<script>attacked=1</script>",
    "</script><script>attacked=2</script>",
    "<img src=x onerror=attacked=3>",
    '"><svg onload=attacked=4>',
    "<b>bold</b> | &amp; %{x} $x$ <!--",
    "{{ 7 * 7 }} `code`",
    "[a link](http://elsewhere.invalid/)",
    "two\nlines",
)
BEST = "cnn · relu · adam · 0.0001"


def a_comparison(seeds: int = 3, epochs: int = 20) -> dict:
    """The 8 cells of the report on the task competition, each with that many seeds."""
    results = {result for table in paper.TABLES for result in table.results}
    axes = ("architecture", "activation", "optimizer")
    kinds = sorted(tuple(getattr(result, axis) for axis in axes) for result in results)
    return {
        "id": "5d0c2b1a9e77",
        "name": "report",
        "command": f"python -m jobs.compare --name report --task competition --seeds {seeds}",
        "task": {"name": "competition", "classes": list(COMPETITION.classes), "shape": [28, 28, 1]},
        "dataset": {"source": "a folder", "fingerprint": "c0ffee" * 10, "train": 54_000}
        | {"validation": 6_000, "test": 10_000},
        "config": {"epochs": epochs, "batch": 1024, "precision": "float32", "validation": 0.1},
        "seeds": list(range(seeds)),
        "versions": {"keras": "3.15.1", "ray": "2.60.0"},
        "hardware": {"cpu": "a processor", "cores": 2, "gpus": 0, "nodes": 1, "workers": 1},
        "cells": [a_cell(*kind, seeds=seeds, epochs=epochs) for kind in kinds],
    }


def a_cell(architecture: str, activation: str, optimizer: str, *, seeds: int, epochs: int) -> dict:
    cell = {
        "name": f"{architecture} · {activation} · {optimizer} · 0.0001",
        "architecture": architecture,
        "activation": activation,
        "optimizer": optimizer,
        "learning_rate": 1e-4,
        "parameters": PARAMETERS[architecture],
        "layers": LAYERS[architecture],
        "failures": [],
    }
    result = paper.find(cell)
    assert result is not None
    random = np.random.default_rng(sum(map(ord, cell["name"])))
    accuracies = result.validation_accuracy - 0.03 + random.normal(scale=0.002, size=seeds)
    runs = [
        a_run(seed, float(accuracy), SECONDS[architecture], epochs)
        for seed, accuracy in enumerate(accuracies)
    ]
    for run in runs:
        run["id"] = f"{architecture}-{activation}-{optimizer}-{run['seed']}"
    return cell | {"runs": runs}


def a_run(seed: int, accuracy: float, seconds: float, epochs: int) -> dict:
    """A run that ends with that validation accuracy."""
    history = []
    for epoch in range(1, epochs + 1):
        left = math.exp(-4 * epoch / epochs)
        row = {"epoch": epoch, "loss": 1.2 * left + 0.2, "accuracy": accuracy + 0.03 - 0.4 * left}
        row |= {
            "val_loss": 1.1 * left + 1.2 * (1 - accuracy),
            "val_accuracy": accuracy - 0.4 * left,
        }
        history.append(row | {"seconds": seconds * (3 if epoch == 1 else 1)})
    last = history[-1]
    parts = {
        "train": {"examples": 54_000, "loss": last["loss"], "accuracy": accuracy + 0.03},
        "validation": {"examples": 6_000, "loss": last["val_loss"], "accuracy": accuracy},
        "test": {"examples": 10_000, "loss": last["val_loss"] + 0.01, "accuracy": accuracy - 0.004},
    }
    return {"seed": seed, "id": f"run{seed}", "stopped_at": None, "history": history} | {
        "scores": parts
    }


def an_evidence(
    comparison: dict, cell: str, *, probabilities: np.ndarray | None = None
) -> Evidence:
    """Predictions (random, mostly right) on 600 noisy rings, the larger the label the larger."""
    classes, (height, width, channels) = comparison["task"]["classes"], comparison["task"]["shape"]
    random = np.random.default_rng(0)
    n = 600
    labels = np.arange(n) % len(classes)
    if probabilities is None:
        odds = np.exp(
            1.4 * random.normal(size=(n, len(classes))) + 4 * np.eye(len(classes))[labels]
        )
        probabilities = odds / odds.sum(axis=1, keepdims=True)
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(y - height / 2, x - width / 2)[None, :, :, None]
    rings = np.exp(-((distance - 4 - 2 * (labels % 5)[:, None, None, None]) ** 2) / 4)
    noise = random.uniform(0.6, 1, size=(n, height, width, channels))
    return Evidence(
        cell=cell,
        run="cnn-relu-adam-0",
        split="test",
        evaluation=evaluate(labels, probabilities, tuple(classes)).to_json(),
        labels=labels,
        probabilities=probabilities,
        images=(255 * rings * noise).astype(np.uint8),
    )


def a_hostile_one() -> dict:
    """A comparison whose every name attacks; one seed of each cell failed."""
    comparison = a_comparison(seeds=2)
    comparison["task"] |= {"classes": list(HOSTILE), "name": HOSTILE[0]}
    comparison |= {"id": HOSTILE[1], "name": HOSTILE[2], "command": HOSTILE[3] + " ``` " * 2}
    for place in ("config", "dataset", "versions", "hardware"):
        comparison[place] = {HOSTILE[4]: HOSTILE[6]}
    for each, name in zip(comparison["cells"], HOSTILE, strict=True):
        each |= {"name": name, "architecture": name, "activation": name, "optimizer": name}
        fail(each, 1, name)
    return comparison


def cell(comparison: dict, name: str) -> dict:
    """The first cell with this in its name."""
    return next(each for each in comparison["cells"] if name in each["name"])


def fail(each: dict, seed: int, reason: str) -> None:
    """Makes a run of a cell one that failed."""
    each["runs"] = [run for run in each["runs"] if run["seed"] != seed]
    each["failures"].append({"seed": seed, "reason": reason})
