"""Makes comparisons with made-up but realistic numbers."""

import math
from dataclasses import replace
from typing import Any

import numpy as np

from fmnist.comparison.facts import ComparedCell, ComparedRun, Comparison, FailedRun
from fmnist.comparison.grid.settings import Setting
from fmnist.comparison.pages import paper
from fmnist.comparison.pages.page import Evidence
from fmnist.runs.evaluation import evaluate
from fmnist.runs.history import EpochRow
from fmnist.tasks import COMPETITION

LAYERS = {"dense": 5, "cnn": 6, "resnet": 11, "inception": 11}
SECONDS = {"dense": 1.2, "cnn": 9.7, "resnet": 48.0, "inception": 31.0}
PARAMETERS = {"dense": 1_398_597, "cnn": 6_484_165, "resnet": 6_753_669, "inception": 325_261}

COMMON: dict[str, Setting] = {
    "architecture": "cnn",
    "activation": "relu",
    "optimizer": "adam",
    "learning_rate": 1e-4,
}

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


def a_comparison(seeds: int = 3, epochs: int = 20) -> Comparison:
    """Returns the 8 cells of the report on the task competition, each with that many seeds."""
    results = {result for table in paper.TABLES for result in table.results}
    kinds = sorted((each.architecture, each.activation, each.optimizer) for each in results)
    return Comparison(
        id="5d0c2b1a9e77",
        name="report",
        command=f"python -m jobs.compare --name report --task competition --seeds {seeds}",
        task=COMPETITION,
        dataset={"source": "a folder", "fingerprint": "c0ffee" * 10, "train": 54_000}
        | {"validation": 6_000, "test": 10_000},
        nodes=1,
        config={"epochs": epochs, "batch": 1024, "precision": "float32", "validation": 0.1},
        seeds=list(range(seeds)),
        versions={"keras": "3.15.1", "ray": "2.60.0"},
        hardware={"cpu": "a processor", "cores": 2, "gpus": 0, "nodes": 1, "workers": 1},
        cells=[a_cell(*kind, seeds=seeds, epochs=epochs) for kind in kinds],
    )


def a_cell(
    architecture: str, activation: str, optimizer: str, *, seeds: int, epochs: int
) -> ComparedCell:
    """Returns a cell that is about as good as in the report."""
    cell = ComparedCell(
        name=f"{architecture} · {activation} · {optimizer} · 0.0001",
        settings=COMMON
        | {"architecture": architecture, "activation": activation, "optimizer": optimizer},
        parameters=PARAMETERS[architecture],
        layers=LAYERS[architecture],
        runs=[],
        failures=[],
    )
    result = paper.find_result(cell)
    assert result is not None
    random = np.random.default_rng(sum(map(ord, cell.name)))
    accuracies = result.validation_accuracy - 0.03 + random.normal(scale=0.002, size=seeds)
    for seed, accuracy in enumerate(accuracies):
        run = a_run(seed, float(accuracy), architecture, epochs)
        cell.runs.append(replace(run, id=f"{architecture}-{activation}-{optimizer}-{seed}"))
    return cell


def a_run(seed: int, accuracy: float, architecture: str, epochs: int) -> ComparedRun:
    """Returns a run that ends with that validation accuracy."""
    history = [an_epoch(epoch, epochs, accuracy, SECONDS[architecture]) for epoch in range(epochs)]
    loss, val_loss = history[-1]["loss"], history[-1]["val_loss"]
    return ComparedRun(
        seed=seed,
        id=f"run{seed}",
        history=history,
        scores={
            "train": {"examples": 54_000, "loss": loss, "accuracy": accuracy + 0.03},
            "validation": {"examples": 6_000, "loss": val_loss, "accuracy": accuracy},
            "test": {"examples": 10_000, "loss": val_loss + 0.01, "accuracy": accuracy - 0.004},
        },
        parameters=PARAMETERS[architecture],
        layers=LAYERS[architecture],
        hardware={"cpu": "a processor", "cores": 2, "gpus": 0, "nodes": 1, "workers": 1},
    )


def an_epoch(epoch: int, epochs: int, accuracy: float, seconds: float) -> EpochRow:
    """Returns the row of an epoch, counted from 0, of a run that ends with that accuracy."""
    left = math.exp(-4 * (epoch + 1) / epochs)
    return {
        "epoch": epoch + 1,
        "loss": 1.2 * left + 0.2,
        "accuracy": accuracy + 0.03 - 0.4 * left,
        "val_loss": 1.1 * left + 1.2 * (1 - accuracy),
        "val_accuracy": accuracy - 0.4 * left,
        "learning_rate": 1e-4,
        "seconds": seconds * (3 if epoch == 0 else 1),
        "images_per_second": 54_000 / seconds,
    }


def an_evidence(
    comparison: Comparison, cell: str, *, probabilities: np.ndarray | None = None
) -> Evidence:
    """Returns random, mostly right predictions on 600 noisy rings, larger for larger labels."""
    classes, (height, width, channels) = comparison.task.classes, comparison.task.shape
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
        evaluation=evaluate(labels, probabilities, classes).to_json(),
        labels=labels,
        probabilities=probabilities,
        images=(255 * rings * noise).astype(np.uint8),
    )


def a_hostile_one() -> Comparison:
    """Returns a comparison whose every name attacks; one seed of each cell failed."""
    comparison = a_comparison(seeds=2)
    facts = {HOSTILE[4]: HOSTILE[6]}
    cells = [
        replace(each, name=name, settings={**COMMON, "architecture": name})
        for each, name in zip(comparison.cells, HOSTILE, strict=True)
    ]
    for each in cells:
        fail(each, 1, each.name)
    return replace(
        comparison,
        id=HOSTILE[1],
        name=HOSTILE[2],
        command=HOSTILE[3] + " ``` " * 2,
        task=replace(COMPETITION, name=HOSTILE[0], classes=HOSTILE),
        config=facts,
        dataset=facts,
        versions=facts,
        hardware=facts,
        cells=cells,
    )


def cell(comparison: Comparison, name: str) -> ComparedCell:
    """Returns the first cell with this in its name."""
    return next(each for each in comparison.cells if name in each.name)


def fail(each: ComparedCell, seed: int, reason: str) -> None:
    """Makes a run of a cell one that failed."""
    each.runs[:] = [run for run in each.runs if run.seed != seed]
    each.failures.append(FailedRun(seed=seed, reason=reason))


def stop(each: ComparedCell, place: int, epoch: int) -> None:
    """Makes a run of a cell one that was stopped early after that epoch."""
    run = each.runs[place]
    each.runs[place] = replace(run, stopped_at=epoch, history=run.history[:epoch])


def without_size(comparison: Comparison, name: str) -> None:
    """Makes the size of a cell's network unknown, as where no run was trained."""
    place = comparison.cells.index(cell(comparison, name))
    comparison.cells[place] = replace(comparison.cells[place], parameters=None, layers=None)


def renamed_task(comparison: Comparison, name: str, **changes: Any) -> Comparison:
    """Returns the comparison with a task of another name."""
    return replace(comparison, task=replace(comparison.task, name=name, **changes))
