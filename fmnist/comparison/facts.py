"""Facts of a comparison: its cells, their runs and failures. Page and tables are made of them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Literal, NotRequired, TypedDict

from fmnist.comparison.grid.settings import Settings
from fmnist.pages.html import Facts
from fmnist.runs.history import EpochRow
from fmnist.tasks import Task

FACTS = "comparison.json"  # all facts of a published comparison

Split = Literal["train", "validation", "test"]
METRICS: tuple[Literal["loss"], Literal["accuracy"]] = ("loss", "accuracy")


class SplitScores(TypedDict):
    """A run's scores on one split: mean cross-entropy in nats, accuracy as a share."""

    examples: NotRequired[int]  # unknown for a run that was stopped early
    loss: float
    accuracy: float
    accuracy_interval: NotRequired[list[float]]  # of 95% confidence, where the run was evaluated


@dataclass(frozen=True, kw_only=True)
class ComparedRun:
    """A run of a cell that was trained to the end or stopped early.

    `stopped_at` is the epoch after which it was stopped early, or None. A stopped run has no
    hardware and no test scores. Without held-out images there are no validation scores.
    """

    seed: int
    id: str
    stopped_at: int | None = None
    history: list[EpochRow]
    scores: Mapping[Split, SplitScores]
    parameters: int
    layers: int
    hardware: Facts | None = None

    @property
    def measures(self) -> dict[str, float]:
        """Numbers of the run: loss and accuracy by split, such as `train_loss`, and its times.

        `seconds_per_epoch` is a median, which the slow first epoch does not move; `seconds` is a
        sum.
        """
        seconds = [epoch["seconds"] for epoch in self.history]
        scores = {
            f"{split}_{metric}": scores[metric]
            for split, scores in self.scores.items()
            for metric in METRICS
        }
        return scores | {"seconds_per_epoch": median(seconds), "seconds": sum(seconds)}

    def to_json(self) -> dict[str, Any]:
        """Returns the run as comparison.json has it, with its fields in the order of that file."""
        finished = ("history", "scores", "parameters", "layers", "hardware")
        stopped = ("scores", "history", "parameters", "layers")
        names = finished if self.stopped_at is None else stopped
        return {name: getattr(self, name) for name in ("seed", "id", "stopped_at", *names)}


@dataclass(frozen=True, kw_only=True)
class FailedRun:
    """A run that has no result, and the reason."""

    seed: int
    reason: str


# What a cell has in comparison.json; all others are its settings.
CELL_FIELDS = ("name", "parameters", "layers", "runs", "failures")


@dataclass(frozen=True, kw_only=True)
class ComparedCell:
    """A cell of the grid with its runs; the size of its network is None if no run was trained.

    `settings` are those of `grid.settings.shown_settings`, the same for all cells of a comparison.
    """

    name: str
    settings: Settings
    parameters: int | None
    layers: int | None
    runs: list[ComparedRun]
    failures: list[FailedRun]

    def accuracies(self, split: Split) -> dict[int, float]:
        """Returns each run's accuracy on a split by its seed; none if one was stopped early."""
        if any(run.stopped_at is not None for run in self.runs):
            return {}
        return {run.seed: run.scores[split]["accuracy"] for run in self.runs}

    def to_json(self) -> dict[str, Any]:
        """Returns the cell as comparison.json has it."""
        return {
            "name": self.name,
            **self.settings,
            "parameters": self.parameters,
            "layers": self.layers,
            "runs": [run.to_json() for run in self.runs],
            "failures": [asdict(failure) for failure in self.failures],
        }


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All facts of a comparison. `config` is what its cells share; `dataset` as in a manifest.

    Of each setting in `ablated`, some cells have the default and are named as those without it.
    """

    id: str
    name: str
    command: str
    task: Task
    dataset: Facts
    nodes: int
    config: Facts
    seeds: list[int]
    versions: Mapping[str, str]
    hardware: Facts
    cells: list[ComparedCell]
    ablated: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """Returns the content of comparison.json, with `ablated` only where something is."""
        cells = [cell.to_json() for cell in self.cells]
        facts = {**vars(self), "task": self.task.details, "cells": cells}
        if not self.ablated:
            del facts["ablated"]
        return facts
