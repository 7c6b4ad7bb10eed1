"""Makes what the page of a comparison shows of a search: the importance of settings, all cells."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from fmnist.comparison.facts import Split
from fmnist.comparison.grid.settings import AXES, Setting, differing_settings
from fmnist.comparison.pages.plots import LEGEND
from fmnist.comparison.statistics.importance import LEAST_CELLS, Importance
from fmnist.comparison.statistics.ranking import RankedCell
from fmnist.pages.html import Cell, Table
from fmnist.pages.plots import Figure, literal, new_figure, shortened, to_json
from fmnist.pages.scores import SPLITS

BEST = 4  # a cell among the best of so many is highlighted
LOGARITHMIC_FROM = 10  # ratio of the largest to the smallest number
LABEL_LENGTH = 14  # characters of a value beside its axis
DIGITS = 4  # of a height


def importance_table(found: Importance, basis: Split) -> Table:
    """Returns how much each setting matters, the most important first.

    Where that can't be told, it has no rows, and its caption says so.
    """
    split = SPLITS[basis]
    if found.explained <= 0:
        caption = (
            f"A random forest predicts the {split} accuracy of cells that it was not trained on no "
            "better than their mean does: these are too few cells to tell which setting matters."
        )
        return Table(caption, [], [])
    caption = (
        f"A random forest explains {found.explained:.0%} of the variance of {split} accuracy in "
        "cells that it was not trained on. A setting's share is what it does alone and together "
        "with others: half the growth of the squared error when its values are shuffled."
    )
    rows = [
        (name.replace("_", " "), [Cell(f"{max(0.0, share):.0%}")])
        for name, share in sorted(found.shares.items(), key=lambda item: -item[1])
    ]
    return Table(caption, ["Setting", "Share of the variance"], rows)


def parallel_coordinates(done: Sequence[RankedCell]) -> Figure | None:
    """Draws a line for each cell through the values of its settings and through its accuracy.

    `done` are the cells with runs, the best first, of which some are highlighted. None for too few
    cells or settings.
    """
    names = differing_settings([row.cell.settings for row in done]) if done else []
    if len(done) < LEAST_CELLS or len(names) < 2:
        return None
    axes = [
        _axis(name.replace("_", " "), [row.cell.settings[name] for row in done], AXES[name])
        for name in names
    ]
    axes.append(_number_axis("accuracy", [row.accuracy.mean for row in done], ".2%"))
    figure = new_figure()
    best = -(-len(done) // BEST)
    _add_lines(figure, axes, done, range(best, len(done)), name="the others", series=1)
    _add_lines(figure, axes, done, range(best), name=f"the best {best}", series=0)
    for x, axis in enumerate(axes):
        for height, label in axis.labels:
            text, shift = literal(shortened(label, LABEL_LENGTH)), 10 if height == 1 else -10
            figure.add_annotation(x=x, y=height, text=text, yshift=shift, showarrow=False)
    titles = [literal(axis.title) for axis in axes]
    figure.update_xaxes(tickvals=list(range(len(axes))), ticktext=titles, showgrid=True)
    # Plotly would hide the last title where it is wider than the room beside the last axis.
    figure.update_xaxes(range=[-0.3, len(axes) - 0.7], ticklabeloverflow="allow")
    figure.update_yaxes(visible=False, range=[-0.08, 1.08])
    figure.update_layout(hovermode="closest", legend=LEGEND)
    return to_json(figure)


@dataclass(frozen=True, kw_only=True)
class Axis:
    """An upright axis: the height of each cell's value, from 0 to 1, and labels with heights."""

    title: str
    heights: list[float]
    labels: list[tuple[float, str]]


def _axis(title: str, values: Sequence[Setting], kind: object) -> Axis:
    if kind in (int, float):
        return _number_axis(title, [float(value) for value in values], "g")
    names = sorted({str(value) for value in values})
    heights = {name: place / max(1, len(names) - 1) for place, name in enumerate(names)}
    return Axis(
        title=title,
        heights=[round(heights[str(value)], DIGITS) for value in values],
        labels=[(height, name) for name, height in heights.items()],
    )


def _number_axis(title: str, values: Sequence[float], text: str) -> Axis:
    """Returns the axis of numbers, of which the lowest and the highest are labelled."""
    low, high = min(values), max(values)
    logarithmic = low > 0 and high > LOGARITHMIC_FROM * low
    scaled = [math.log(value) if logarithmic else value for value in values]
    least, span = min(scaled), (max(scaled) - min(scaled)) or 1
    return Axis(
        title=title,
        heights=[round((value - least) / span, DIGITS) for value in scaled],
        labels=[(0, f"{low:{text}}"), (1, f"{high:{text}}")],
    )


def _add_lines(
    figure: go.Figure,
    axes: Sequence[Axis],
    done: Sequence[RankedCell],
    rows: range,
    *,
    name: str,
    series: int,
) -> None:
    """Adds the lines of these rows of `done`; the first series is highlighted."""
    figure.add_scatter(
        name=name,
        x=[x for _ in rows for x in (*range(len(axes)), None)],
        y=[y for row in rows for y in (*(axis.heights[row] for axis in axes), None)],
        text=[literal(done[row].label) for row in rows for _ in range(len(axes) + 1)],
        mode="lines",
        opacity=0.35 if series else 1,
        line={"width": 1 if series else 2},
        meta={"series": series},
        hovertemplate="%{text}<extra></extra>",
    )
