"""Makes the plots of all cells of a comparison for its page."""

import pandas as pd

from fmnist.comparison.facts import Comparison
from fmnist.comparison.grid.settings import AXES, SEPARATOR, differing_settings
from fmnist.comparison.pages import paper, text
from fmnist.comparison.pages import plots as comparison_plots
from fmnist.comparison.statistics.ranking import RankedCell
from fmnist.pages import plots
from fmnist.pages.scores import SPLITS

RANKED = 30  # cells in the plot of the ranking and in its table; another has the others, folded up
CURVES = comparison_plots.LEGEND_UP_TO  # cells in the plots of curves
SLICED = 6  # values from which on a setting has a plot of its own
DIGITS = 5  # of a number in a plot


def which_cells(comparison: Comparison, done: list[RankedCell]) -> str:
    """Says which cells the plot of the ranking has, and which of their settings are on its axis."""
    cells = "each cell" if len(done) <= RANKED else f"the {RANKED} best of {len(done)} cells"
    if all(row.label == row.tick for row in done):
        return cells
    names = differing_settings([cell.settings for cell in comparison.cells])
    return f"{cells}: {SEPARATOR.join(name.replace('_', ' ') for name in names)}"


def make_figures(comparison: Comparison, done: list[RankedCell]) -> dict[str, plots.Figure]:
    """Returns the plots of all cells with runs."""
    title = _accuracy_title(done)
    return {
        "ranking": comparison_plots.ranking(
            [_point(row) for row in done[:RANKED]],
            _paper_accuracies(comparison, done[:RANKED]),
            title=title,
        ),
        "loss": _curves(done[:CURVES], "loss", "Loss (nats per image)", ".3~f"),
        "accuracy": _curves(done[:CURVES], "accuracy", "Accuracy (share of images)", ".1~%"),
        "time": comparison_plots.cost(
            [_point(row, x=round(row.values["seconds"].mean, 3)) for row in done],
            x_title="Training time (s)",
            x_hover="%{x:,.1f} s",
            y_title=title,
        ),
        "parameters": comparison_plots.cost(
            [_point(row, x=row.cell.parameters or 0) for row in done],
            x_title="Parameters",
            x_hover="%{x:,} parameters",
            y_title=title,
        ),
    }


def make_slices(comparison: Comparison, done: list[RankedCell]) -> dict[str, plots.Figure]:
    """Returns, by the name of a setting, a plot of accuracy against it.

    Only numbers with SLICED different values have one: it is for searches, not for small grids.
    """
    slices = {}
    for name in differing_settings([cell.settings for cell in comparison.cells]):
        values = [row.cell.settings[name] for row in done]
        words = name.replace("_", " ")
        if AXES.get(name) in (int, float) and len(set(values)) >= SLICED:
            slices[words] = comparison_plots.cost(
                [_point(row, x=float(value)) for row, value in zip(done, values, strict=True)],
                x_title=words.capitalize(),
                x_hover=f"{words} %{{x}}",
                y_title=_accuracy_title(done),
            )
    return slices


def _accuracy_title(done: list[RankedCell]) -> str:
    return f"{SPLITS[done[0].basis].capitalize()} accuracy"


def _paper_accuracies(comparison: Comparison, rows: list[RankedCell]) -> dict[str, float]:
    """Returns the report's validation accuracies by label, of the cells that it has."""
    if not text.has_paper_labels(comparison) or rows[0].basis != "validation":
        return {}
    results = {row.label: paper.find_result(row.cell) for row in rows}
    return {label: result.validation_accuracy for label, result in results.items() if result}


def _point(row: RankedCell, x: float = 0) -> comparison_plots.Point:
    accuracy = row.accuracy
    seeds = [run.scores[row.basis]["accuracy"] for run in row.cell.runs]
    return comparison_plots.Point(
        name=row.label,
        tick=row.tick,
        x=x,
        y=_rounded(accuracy.mean),
        deviation=accuracy.deviation and _rounded(accuracy.deviation),
        seeds=tuple(map(_rounded, seeds)) if len(seeds) > 1 else (),
    )


def _curves(done: list[RankedCell], metric: str, title: str, tick_format: str) -> plots.Figure:
    held_out = done[0].basis == "validation"
    return comparison_plots.cell_curves(
        [_mean_curve(row, f"val_{metric}") for row in done if held_out],
        [_mean_curve(row, metric) for row in done],
        y_title=title,
        y_format=tick_format,
    )


def _mean_curve(row: RankedCell, metric: str) -> plots.Line:
    """Returns the mean at each epoch over the seeds that reached it."""
    epochs = pd.DataFrame([epoch for run in row.cell.runs for epoch in run.history])
    means = epochs.groupby("epoch")[metric].mean()
    return plots.Line(name=row.label, x=means.index.tolist(), y=[_rounded(mean) for mean in means])


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
