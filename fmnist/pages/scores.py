"""Shows the evaluation of a model in tables: scores, their confidence intervals, each class."""

from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict, cast

from fmnist.pages.html import NO_VALUE, Cell

Metric = Literal["accuracy", "loss", "precision", "recall", "f1", "roc_auc"]
Intervals = dict[str, list[float]]  # of 95% confidence: the lower and the upper bound, by metric

SPLITS = {"train": "training", "validation": "validation", "test": "test"}
SCORES: dict[Metric, str] = {
    "accuracy": "Accuracy",
    "loss": "Loss (nats)",
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
    "roc_auc": "ROC AUC",
}
PLAIN_NUMBERS = ("loss", "roc_auc")  # the other scores are shares, which are shown in percent
CLASS_METRICS: tuple[Metric, ...] = ("precision", "recall", "f1", "roc_auc")
CLASS_HEADERS = ["Class", "Images", *(SCORES[metric] for metric in CLASS_METRICS)]


class ClassScoresJson(TypedDict):
    """Scores of one class against the rest, None where undefined; `support` counts its images."""

    name: str
    support: int
    precision: float | None
    recall: float | None
    f1: float | None
    roc_auc: float | None
    intervals: Intervals


class EvaluationJson(TypedDict):
    """Scores on one split, as `metrics.json` has them.

    See `fmnist.runs.evaluation.Evaluation`, whose JSON this is.
    """

    examples: int
    loss: float
    accuracy: float
    precision: float
    recall: float
    f1: float
    roc_auc: float | None
    per_class: list[ClassScoresJson]
    confusion: list[list[int]]
    intervals: Intervals


def score_cell(metric: Metric, scores: EvaluationJson | ClassScoresJson) -> Cell:
    """Returns a score with its 95% interval in small print, or a dash where it is undefined."""
    value = cast(Mapping[str, float | None], scores)[metric]
    if value is None:
        return NO_VALUE
    interval = scores["intervals"].get(metric)
    return Cell(score_text(metric, value), _interval_text(metric, interval) if interval else "")


def score_text(metric: str, value: float) -> str:
    """Returns a score as text: in percent, or with four decimals for a loss or a ROC AUC."""
    return format(value, ".4f" if metric in PLAIN_NUMBERS else ".2%")


def _interval_text(metric: Metric, interval: Sequence[float]) -> str:
    low, high = (score_text(metric, bound) for bound in interval)
    return f"{low}\N{NO-BREAK SPACE}– {high}"


def score_rows(evaluations: Mapping[str, EvaluationJson]) -> list[tuple[str, list[Cell]]]:
    """Returns a row for each score and a column for each evaluation, with the images counted."""
    sizes = [Cell(f"{scores['examples']:,}") for scores in evaluations.values()]
    rows = [
        (title, [score_cell(metric, scores) for scores in evaluations.values()])
        for metric, title in SCORES.items()
    ]
    return [("Images", sizes), *rows]


def class_rows(evaluation: EvaluationJson) -> list[tuple[str, list[Cell]]]:
    """Returns a row for each class, with the columns of `CLASS_HEADERS`."""
    return [
        (
            scores["name"],
            [
                Cell(f"{scores['support']:,}"),
                *(score_cell(metric, scores) for metric in CLASS_METRICS),
            ],
        )
        for scores in evaluation["per_class"]
    ]
