"""Makes the page of a comparison of cells."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fmnist.comparison.facts import Comparison, Split
from fmnist.comparison.pages import figures, paper, search, tables, text
from fmnist.comparison.pages import plots as comparison_plots
from fmnist.comparison.statistics.importance import measure_importance
from fmnist.comparison.statistics.ranking import RankedCell, rank_cells
from fmnist.pages import plots
from fmnist.pages.html import Card, Cell, Table, render
from fmnist.pages.mistakes import Mistake, surest_mistakes
from fmnist.pages.scores import CLASS_HEADERS, SPLITS, EvaluationJson, class_rows

GALLERY = 24  # mistakes shown
ROC_POINTS = 200  # on each curve; the eye would not see more
DIGITS = 5  # of a number in a curve


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Predictions of a run of the best cell (see `ranking.best_cell`) on one split.

    `labels` (n,) int, `probabilities` (n, classes) float, `images` (n, height, width, channels)
    uint8.
    """

    cell: str
    run: str
    split: Split
    evaluation: EvaluationJson
    labels: np.ndarray
    probabilities: np.ndarray
    images: np.ndarray


@dataclass(frozen=True, kw_only=True)
class BestCell:
    """Contents of the page's sections on the best cell.

    `final` compares it with the report's final model, or is None where the labels differ.
    `wrong` counts all mistakes, of which `mistakes` has some.
    """

    cell: str
    run: str
    split: str
    images: int
    final: Table | None
    confusion: plots.Figure
    f1: plots.Figure
    roc: plots.Figure
    class_headers: list[str]
    class_rows: list[tuple[str, list[Cell]]]
    mistakes: list[Mistake]
    wrong: int


def comparison_page(comparison: Comparison, evidence: Evidence | None) -> str:
    """Returns the page as one HTML file, which needs no other file.

    `evidence` is None where no run came to an end.
    """
    ranked = rank_cells(comparison)
    basis = ranked[0].basis
    ranking = tables.ranking(ranked)
    done = [row for row in ranked if row.values]
    importance = measure_importance(comparison.cells, basis)
    return render(
        "comparison.html.j2",
        comparison=comparison,
        headline=text.make_headline(comparison, ranked),
        cards=_cards(comparison, ranked[0]),
        split=SPLITS[basis],
        method_note=text.method_note(comparison, ranked),
        ranking=ranking._replace(rows=ranking.rows[: figures.RANKED]),
        other_rows=ranking.rows[figures.RANKED :],
        which=figures.which_cells(comparison, done),
        which_curves=f"the {figures.CURVES} best cells" if len(done) > figures.CURVES else "",
        slices=figures.make_slices(comparison, done) if done else {},
        importance=importance and search.importance_table(importance, basis),
        parallel=search.parallel_coordinates(done),
        effects=text.effects_table(comparison, ranked),
        paper_tables=text.paper_tables(comparison, ranked),
        paper_note=text.paper_note(comparison, ranked),
        unfinished=tables.unfinished(comparison),
        provenance=text.provenance(comparison),
        figures=figures.make_figures(comparison, done) if done else None,
        best=_best_cell(comparison, evidence, ranked[0]) if evidence else None,
    )


def _cards(comparison: Comparison, best: RankedCell) -> list[Card]:
    cells = comparison.cells
    runs = sum(len(cell.runs) for cell in cells)
    failed = sum(len(cell.failures) for cell in cells)
    count = Card("Runs", f"{runs:,}", f"of {len(cells)} cells, {failed} failed")
    if not best.values:
        return [count]
    numbers = []
    for name, note in (
        ("test_accuracy", "had no part in choosing"),
        ("train_accuracy", "on the training images"),
        ("seconds_per_epoch", "median"),
        ("seconds", f"for {best.epochs:,} epochs"),
    ):
        if name in best.values:
            title, kind = tables.NUMBERS[name]
            value, deviation = tables.spread_texts(best.values[name], kind)
            numbers.append(Card(title, value, ", ".join(filter(None, (deviation, note)))))
    return [*numbers, Card("Parameters", f"{best.cell.parameters:,}", "in the model"), count]


def _best_cell(comparison: Comparison, evidence: Evidence, best: RankedCell) -> BestCell:
    assert evidence.cell == best.cell.name, (evidence.cell, best.cell.name)
    classes, evaluation = comparison.task.classes, evidence.evaluation
    split = SPLITS[evidence.split]
    final = paper.final_model_table(evaluation, split, best)
    return BestCell(
        cell=evidence.cell,
        run=evidence.run,
        split=split,
        images=evaluation["examples"],
        final=final if text.has_paper_labels(comparison) else None,
        confusion=plots.confusion_matrix(evaluation["confusion"], classes),
        f1=comparison_plots.class_f1(evaluation["per_class"]),
        roc=comparison_plots.roc_curves(_roc_lines(evidence)),
        class_headers=CLASS_HEADERS,
        class_rows=class_rows(evaluation),
        mistakes=surest_mistakes(
            evidence.images, evidence.labels, evidence.probabilities, classes, most=GALLERY
        ),
        wrong=int((evidence.probabilities.argmax(axis=1) != evidence.labels).sum()),
    )


def _roc_lines(evidence: Evidence) -> Sequence[plots.Line]:
    """Returns a line for each class that some images have and others do not have."""
    from sklearn.metrics import roc_curve  # here, as it takes a second that --help need not wait

    lines = []
    for label, scores in enumerate(evidence.evaluation["per_class"]):
        if scores["roc_auc"] is None:
            continue
        x, y, _ = roc_curve(evidence.labels == label, evidence.probabilities[:, label])
        name = f"{plots.shortened(scores['name'])}: AUC {scores['roc_auc']:.4f}"
        line = plots.Line(name=name, x=x.round(DIGITS).tolist(), y=y.round(DIGITS).tolist())
        lines.append(plots.thinned(line, ROC_POINTS))
    return lines
