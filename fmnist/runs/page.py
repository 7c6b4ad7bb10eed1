"""Makes the page of one training run: scores, learning curves, and how it was made.

`card` says the same as Markdown, for those who get the model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from fmnist.pages import plots
from fmnist.pages.html import Card, FactList, Facts, decimals_of_seconds, fact_list, render
from fmnist.pages.scores import (
    CLASS_HEADERS,
    SCORES,
    SPLITS,
    EvaluationJson,
    class_rows,
    score_cell,
    score_rows,
)
from fmnist.runs.history import EpochRow
from fmnist.tasks import Task


@dataclass(frozen=True, kw_only=True)
class RunPage:
    """Facts that the page and the card of a run show.

    `history` has a row for each epoch, with val_loss and val_accuracy only where examples were held
    out; without them, `best_epoch` is None. `evaluations` are by split, at least one of train,
    validation and test. `seconds` are by the work that took them. `dataset` has source, fingerprint
    and the sizes of the splits.
    """

    id: str
    task: Task
    command: str
    config: Facts
    parameters: int
    best_epoch: int | None
    history: Sequence[EpochRow]
    evaluations: Mapping[str, EvaluationJson]
    seconds: Mapping[str, float]
    dataset: Facts
    versions: Facts
    hardware: Facts


class Headline(NamedTuple):
    """The result of a run in three sentences, measured on one split."""

    split: str
    title: str
    certainty: str
    mistake: str


def run_page(run: RunPage) -> str:
    """Returns the page as one HTML file, which needs no other file."""
    evaluations = in_order(run.evaluations)
    evaluation = list(evaluations.values())[-1]
    return render(
        "run.html.j2",
        run=run,
        headline=make_headline(run),
        cards=_cards(run, evaluation),
        loss=_curves(run, "loss", "Loss (nats per image)", ".3~f"),
        accuracy=_curves(run, "accuracy", "Accuracy (share of images)", ".1~%"),
        confusion=plots.confusion_matrix(evaluation["confusion"], run.task.classes),
        splits=[SPLITS[name].capitalize() for name in evaluations],
        score_rows=score_rows(evaluations),
        class_headers=CLASS_HEADERS,
        class_rows=class_rows(evaluation),
        provenance=provenance(run),
    )


def in_order(evaluations: Mapping[str, EvaluationJson]) -> dict[str, EvaluationJson]:
    """Returns the evaluations from training to test, so that the last is the best evidence.

    Test images had no part in training or in choosing an epoch.
    """
    return {split: evaluations[split] for split in SPLITS if split in evaluations}


def make_headline(run: RunPage) -> Headline:
    """Says how good the run is by its best evidence, and what it confuses."""
    split, evaluation = list(in_order(run.evaluations).items())[-1]
    interval = score_cell("accuracy", evaluation).small
    name = SPLITS[split]
    return Headline(
        split=name,
        title=f"{evaluation['accuracy']:.2%} of {evaluation['examples']:,} {name} images right",
        certainty=f"95% confidence interval: {interval}.",
        mistake=_commonest_mistake(evaluation),
    )


def _commonest_mistake(evaluation: EvaluationJson) -> str:
    mistakes = [
        (count, true, predicted)
        for true, row in enumerate(evaluation["confusion"])
        for predicted, count in enumerate(row)
        if true != predicted and count
    ]
    if not mistakes:
        return "It made no mistake."
    count, true, predicted = max(mistakes)
    classes = evaluation["per_class"]
    return (
        f"Its commonest mistake: {classes[true]['name']} taken for {classes[predicted]['name']}, "
        f"{count:,} of {classes[true]['support']:,}."
    )


def _cards(run: RunPage, evaluation: EvaluationJson) -> list[Card]:
    epochs = len(run.history)
    seconds = pd.DataFrame(run.history)["seconds"].median()
    time = f"{seconds:,.{decimals_of_seconds(seconds)}f} s"
    best = f"{run.best_epoch:,}" if run.best_epoch else "–"
    return [
        Card(SCORES["f1"], *score_cell("f1", evaluation)),
        Card(SCORES["roc_auc"], *score_cell("roc_auc", evaluation)),
        Card(SCORES["loss"], *score_cell("loss", evaluation)),
        Card("Time per epoch", time, f"median of {epochs:,}"),
        Card("Best epoch", best, f"of {epochs:,}"),
        Card("Parameters", f"{run.parameters:,}", "in the model"),
    ]


def _curves(run: RunPage, metric: str, title: str, tick_format: str) -> plots.Figure:
    """Returns Plotly's figure of a metric against the epoch, on training and held-out images."""
    history = pd.DataFrame(run.history)
    epochs = history["epoch"].tolist()
    lines = [plots.Line(name="training", x=epochs, y=history[metric].tolist(), dashed=True)]
    if f"val_{metric}" in history:
        held_out = history[f"val_{metric}"].tolist()
        lines.insert(0, plots.Line(name="validation", x=epochs, y=held_out))
    return plots.epoch_curves(lines, y_title=title, y_format=tick_format, best=run.best_epoch)


def provenance(run: RunPage) -> dict[str, FactList]:
    """Returns what the run was made of and with, by heading."""
    lists = {
        "Configuration": run.config,
        "Data": run.dataset,
        "Time": {what: f"{seconds:,.1f} s" for what, seconds in run.seconds.items()},
        "Hardware": run.hardware,
        "Versions": run.versions,
    }
    return {title: fact_list(facts) for title, facts in lists.items()}
