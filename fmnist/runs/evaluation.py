"""Scores of a classifier on labelled examples, overall and per class, with 95% intervals."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import pyarrow as pa

from fmnist.pages.scores import CLASS_METRICS, EvaluationJson
from fmnist.runs import intervals
from fmnist.runs.intervals import Interval

OVERALL = ("loss", "accuracy", "precision", "recall", "f1", "roc_auc")

TABLE = pa.schema(
    [
        pa.field("split", pa.string(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("class", pa.string()),
        pa.field("value", pa.float64()),
        pa.field("low", pa.float64()),
        pa.field("high", pa.float64()),
    ]
)


@dataclass(frozen=True, kw_only=True)
class ClassScores:
    """One class against the rest; `support` is its number of examples.

    All scores are None where no example has this class, and `roc_auc` also where all have it.
    A class that is never predicted has precision 0. `intervals` holds the 95% intervals by name:
    precision and recall (Wilson), f1 (bootstrap), roc_auc (DeLong, from two examples up).
    """

    name: str
    support: int
    precision: float | None
    recall: float | None
    f1: float | None
    roc_auc: float | None
    intervals: dict[str, Interval]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """`loss` is the mean cross-entropy in nats; `confusion[true][predicted]` counts examples.

    `precision`, `recall`, `f1` and `roc_auc` (one-vs-rest) are macro means over the classes that
    occur in the labels; `roc_auc` is None if there is only one. `intervals` holds the 95% intervals
    by name: loss (normal), accuracy (Wilson), precision, recall, f1 (bootstrap), roc_auc (DeLong).
    Those of loss and roc_auc are absent where there are too few examples to estimate a variance.
    """

    examples: int
    loss: float
    accuracy: float
    precision: float
    recall: float
    f1: float
    roc_auc: float | None
    per_class: tuple[ClassScores, ...]
    confusion: tuple[tuple[int, ...], ...]
    intervals: dict[str, Interval]

    def to_json(self) -> EvaluationJson:
        """Returns plain dicts, lists and numbers; an undefined score is None, never NaN."""
        return cast(EvaluationJson, json.loads(json.dumps(asdict(self), allow_nan=False)))


class _Score(NamedTuple):
    value: float | None = None
    interval: Interval | None = None


def evaluate(labels: np.ndarray, probabilities: np.ndarray, classes: tuple[str, ...]) -> Evaluation:
    """Scores (n, k) float probabilities against (n,) int labels in 0..k-1; n > 0, k = len(classes).

    The predicted class is the most probable one, the first of them at a tie.
    """
    # Here and not above: it takes a second, and of the workers that train only one evaluates, last.
    from sklearn.metrics import confusion_matrix

    _check(labels, probabilities, len(classes))
    predicted = probabilities.argmax(axis=1)
    confusion = confusion_matrix(labels, predicted, labels=range(len(classes)))
    hits = int(confusion.trace())
    overall = {
        "loss": _loss(labels, probabilities),
        "accuracy": _Score(hits / len(labels), intervals.wilson(hits, len(labels))),
    }
    per_class: list[dict[str, _Score]] = [{} for _ in classes]
    for name, scores, mean in (
        *_counted(labels, predicted, confusion),
        ("roc_auc", *_roc_auc(labels, probabilities)),
    ):
        overall[name] = mean
        for row, score in zip(per_class, scores, strict=True):
            row[name] = score
    return Evaluation(
        examples=len(labels),
        **_fields(overall),
        per_class=tuple(
            ClassScores(name=name, support=int(support), **_fields(scores))
            for name, support, scores in zip(classes, confusion.sum(axis=1), per_class, strict=True)
        ),
        confusion=tuple(map(tuple, confusion.tolist())),
    )


def _check(labels: np.ndarray, probabilities: np.ndarray, k: int) -> None:
    assert labels.ndim == 1 and len(labels) > 0, labels.shape
    assert probabilities.shape == (len(labels), k), probabilities.shape
    assert labels.min() >= 0 and labels.max() < k, (labels.min(), labels.max())
    assert np.isfinite(probabilities).all() and probabilities.min() >= 0
    assert np.allclose(probabilities.sum(axis=1, dtype=np.float64), 1, rtol=0, atol=1e-3)


def _loss(labels: np.ndarray, probabilities: np.ndarray) -> _Score:
    """scikit-learn's log_loss, but clipped only where float32 has underflowed to 0.

    log_loss clips at 1.2e-7, which flatters a model that is surely wrong.
    """
    chosen = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    losses = -np.log(np.clip(chosen, np.finfo(np.float32).tiny, 1))
    interval = intervals.mean_interval(losses) if len(labels) > 1 else None
    return _Score(float(losses.mean()), interval)


def _counted(
    labels: np.ndarray, predicted: np.ndarray, confusion: np.ndarray
) -> Iterator[tuple[str, list[_Score], _Score]]:
    """Precision, recall and F1: the name, the score of each class, and the macro mean."""
    from sklearn.metrics import precision_recall_fscore_support

    present = confusion.sum(axis=1) > 0
    values = precision_recall_fscore_support(
        labels, predicted, labels=range(len(confusion)), average=None, zero_division=0
    )[:3]
    resamples = intervals.resampled_scores(confusion)
    for index, name in enumerate(("precision", "recall", "f1")):
        scores = [
            _Score(float(value), _class_interval(index, c, confusion, resamples))
            if present[c]
            else _Score()
            for c, value in enumerate(values[index])
        ]
        macro = intervals.percentiles(np.nanmean(resamples[:, index], axis=1))
        yield name, scores, _Score(float(values[index][present].mean()), macro)


def _class_interval(index: int, c: int, confusion: np.ndarray, resamples: np.ndarray) -> Interval:
    """Returns Wilson's interval for precision and recall; a bootstrap's is too narrow near 0, 1.

    F1 is no proportion, so its interval is from the bootstrap.
    """
    if index < 2:
        return intervals.wilson(int(confusion[c, c]), int(confusion.take(c, axis=1 - index).sum()))
    return intervals.percentiles(resamples[:, index, c])


def _roc_auc(labels: np.ndarray, probabilities: np.ndarray) -> tuple[list[_Score], _Score]:
    """Returns the one-vs-rest AUC of each class, and the macro mean of those that are defined."""
    from sklearn.metrics import roc_auc_score

    scores = []
    components = np.zeros(len(labels))
    for c in range(probabilities.shape[1]):
        positive = labels == c
        rarer = min(positive.sum(), len(labels) - positive.sum())
        if rarer == 0:
            scores.append(_Score())
            continue
        value = float(roc_auc_score(positive, probabilities[:, c]))
        if rarer == 1:  # no variance can be estimated from one example
            scores.append(_Score(value))
            continue
        own = intervals.auc_components(positive, probabilities[:, c])
        components += own
        scores.append(_Score(value, intervals.auc_interval(value, own)))
    defined = [score for score in scores if score.value is not None]
    if not defined:
        return scores, _Score()
    mean = float(np.mean([score.value for score in defined]))
    if any(score.interval is None for score in defined):
        return scores, _Score(mean)
    return scores, _Score(mean, intervals.auc_interval(mean, components / len(defined)))


def _fields(scores: dict[str, _Score]) -> dict[str, Any]:
    values: dict[str, Any] = {name: score.value for name, score in scores.items()}
    known = {name: score.interval for name, score in scores.items() if score.interval is not None}
    return values | {"intervals": known}


def to_table(evaluations: dict[str, Evaluation]) -> pa.Table:
    """Makes a row for each score: split, metric, class (null: overall), value, interval low–high.

    Overall rows also hold `examples`, rows of a class its `support`. Undefined values are null.
    """
    rows = []
    for split, evaluation in evaluations.items():
        rows += _rows(split, None, evaluation, ("examples", *OVERALL))
        for scores in evaluation.per_class:
            rows += _rows(split, scores.name, scores, ("support", *CLASS_METRICS))
    return pa.Table.from_pylist(rows, schema=TABLE)


def _rows(
    split: str, name: str | None, scores: Evaluation | ClassScores, metrics: tuple[str, ...]
) -> list[dict[str, str | float | None]]:
    rows: list[dict[str, str | float | None]] = []
    for metric in metrics:
        low, high = scores.intervals.get(metric, (None, None))
        value = getattr(scores, metric)
        rows.append(
            {
                "split": split,
                "metric": metric,
                "class": name,
                "value": value,
                "low": low,
                "high": high,
            }
        )
    return rows
