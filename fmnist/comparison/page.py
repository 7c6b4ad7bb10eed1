"""The result of a comparison of cells, for people: a page, Markdown and a table."""

from dataclasses import dataclass

import numpy as np

from fmnist.comparison import paper, paper_tables, tables
from fmnist.comparison import plots as comparison_plots
from fmnist.comparison import text as words
from fmnist.comparison.ranking import RankedCell, rank_cells
from fmnist.comparison.tables import comparison_table
from fmnist.comparison.text import comparison_markdown
from fmnist.pages import plots
from fmnist.pages.html import Card, render
from fmnist.pages.mistakes import surest_mistakes
from fmnist.pages.scores import SPLITS, EvaluationJson, class_rows

__all__ = ["Evidence", "comparison_markdown", "comparison_page", "comparison_table"]

RANKED = 30  # cells in the plot of the ranking; the table has all
GALLERY = 24  # mistakes shown
ROC_POINTS = 200  # on each curve: more would not be seen
DIGITS = 5  # of a number in a curve


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a run of the best cell (see `ranking.best_cell`) said to one part of the data.

    `split` is validation or test, `labels` (n,) int,
    `probabilities` (n, classes) float, `images` (n, height, width, channels) uint8.
    """

    cell: str
    run: str
    split: str
    evaluation: EvaluationJson
    labels: np.ndarray
    probabilities: np.ndarray
    images: np.ndarray


def comparison_page(comparison: dict, evidence: Evidence | None) -> str:
    """One HTML file, complete in itself; `evidence` is None where no run came to an end.

    `comparison` holds id, name, command, task (name, classes, shape), dataset (source, fingerprint,
    sizes), config (what all cells share), seeds, versions, hardware and cells. A cell has its name,
    architecture, activation, optimizer, learning_rate, parameters and layers (None if unknown),
    runs (seed, id, stopped_at: the epoch after which it was stopped early or None, history, scores
    by part with loss and accuracy, of a comparison without validation only train and test) and
    failures (seed, reason).
    """
    ranked = rank_cells(comparison)
    context = {
        "comparison": comparison,
        "conclusion": words.conclude(comparison, ranked),
        "cards": _cards(comparison, ranked),
        "part": SPLITS[ranked[0].basis],
        "noise": words.noise(ranked),
        "ranking": tables.ranking(ranked),
        "beside": words.beside_report(comparison, ranked),
        "beside_note": words.beside_note(comparison, ranked),
        "unfinished": tables.unfinished(comparison),
        "fact_lists": words.fact_lists(comparison),
    }
    done = [standing for standing in ranked if standing.values]
    figures = _figures(comparison, done) if done else None
    best = _best(comparison, evidence, ranked[0]) if evidence else None
    return render("comparison.html.j2", **context, figures=figures, best=best)


def _cards(comparison: dict, ranked: list[RankedCell]) -> list[Card]:
    cells = comparison["cells"]
    runs = sum(len(each["runs"]) for each in cells)
    failed = sum(len(each["failures"]) for each in cells)
    count = Card("Runs", f"{runs:,}", f"of {len(cells)} cells, {failed} failed")
    best = ranked[0]
    if not best.values:
        return [count]
    numbers = []
    for name, note in (
        ("test_accuracy", "had no part in choosing"),
        ("train_accuracy", "on the training images"),
        ("seconds_per_epoch", "median"),
        ("seconds", f"for {words.epochs(best):,} epochs"),
    ):
        if name in best.values:
            title, kind = tables.NUMBERS[name]
            value, deviation = tables.texts(best.values[name], kind)
            numbers.append(Card(title, value, ", ".join(filter(None, (deviation, note)))))
    return [*numbers, Card("Parameters", f"{best.cell['parameters']:,}", "in the model"), count]


def _figures(comparison: dict, done: list[RankedCell]) -> dict[str, dict]:
    """The plots of all cells with runs."""
    accuracy = [_point(standing) for standing in done]
    title = f"{SPLITS[done[0].basis].capitalize()} accuracy"
    results = {each.label: paper.find(each.cell) for each in done[:RANKED]}
    comparable = words.has_reports_labels(comparison) and done[0].basis == "validation"
    shown = results if comparable else {}
    theirs = {label: result.validation_accuracy for label, result in shown.items() if result}
    return {
        "ranking": comparison_plots.ranking(accuracy[:RANKED], theirs, title=title),
        "loss": _curves(done, "loss", "Loss (nats per image)", ".3~f"),
        "accuracy": _curves(done, "accuracy", "Accuracy (share of images)", ".1~%"),
        "time": comparison_plots.cost(
            [_point(each, x=each.values["seconds"].mean) for each in done],
            x_title="Training time (s)",
            x_hover="%{x:,.1f} s",
            y_title=title,
        ),
        "parameters": comparison_plots.cost(
            [_point(each, x=each.cell["parameters"]) for each in done],
            x_title="Parameters",
            x_hover="%{x:,} parameters",
            y_title=title,
        ),
    }


def _point(standing: RankedCell, x: float = 0) -> comparison_plots.Point:
    accuracy = standing.accuracy
    seeds = [run["scores"][standing.basis]["accuracy"] for run in standing.cell["runs"]]
    return comparison_plots.Point(
        name=standing.label,
        x=x,
        y=accuracy.mean,
        deviation=accuracy.deviation,
        seeds=tuple(seeds) if len(seeds) > 1 else (),
    )


def _curves(done: list[RankedCell], metric: str, title: str, tick_format: str) -> plots.Figure:
    held_out = done[0].basis == "validation"
    return comparison_plots.cell_curves(
        [_mean_curve(standing, f"val_{metric}") for standing in done if held_out],
        [_mean_curve(standing, metric) for standing in done],
        y_title=title,
        y_format=tick_format,
    )


def _mean_curve(standing: RankedCell, metric: str) -> plots.Line:
    """Mean over the seeds that reached an epoch."""
    values: dict[int, list[float]] = {}
    for run in standing.cell["runs"]:
        for epoch in run["history"]:
            values.setdefault(epoch["epoch"], []).append(epoch[metric])
    epochs = sorted(values)
    means = [float(f"{np.mean(values[epoch]):.{DIGITS}g}") for epoch in epochs]
    return plots.Line(name=standing.label, x=list(epochs), y=means)


def _best(comparison: dict, evidence: Evidence, standing: RankedCell) -> dict:
    """The sections about the best cell."""
    assert evidence.cell == standing.cell["name"], (evidence.cell, standing.cell["name"])
    classes, scores = comparison["task"]["classes"], evidence.evaluation
    split = SPLITS[evidence.split]
    mistakes = surest_mistakes(
        evidence.images, evidence.labels, evidence.probabilities, classes, most=GALLERY
    )
    final = paper_tables.beside_final(scores, split, standing)
    return {
        "cell": evidence.cell,
        "run": evidence.run,
        "split": split,
        "images": scores["examples"],
        "final": final if words.has_reports_labels(comparison) else None,
        "confusion": plots.confusion_matrix(scores["confusion"], classes),
        "f1": comparison_plots.class_f1(scores["per_class"]),
        "roc": comparison_plots.roc_curves(_roc(evidence)),
        "class_rows": class_rows(scores),
        "mistakes": mistakes,
        "wrong": int((evidence.probabilities.argmax(axis=1) != evidence.labels).sum()),
    }


def _roc(evidence: Evidence) -> list[plots.Line]:
    """Of each class that some images have and others have not."""
    from sklearn.metrics import roc_curve  # here: it takes a second, before a job has begun

    curves = []
    for c, scores in enumerate(evidence.evaluation["per_class"]):
        if scores["roc_auc"] is None:
            continue
        x, y, _ = roc_curve(evidence.labels == c, evidence.probabilities[:, c])
        kept = np.unique(np.linspace(0, len(x) - 1, ROC_POINTS).astype(int))
        name = f"{scores['name']}: AUC {scores['roc_auc']:.4f}"
        x, y = x[kept].round(DIGITS).tolist(), y[kept].round(DIGITS).tolist()
        curves.append(plots.Line(name=name, x=x, y=y))
    return curves
