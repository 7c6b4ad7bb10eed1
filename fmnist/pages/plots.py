"""Makes figures for pages as Plotly's JSON: data and axes, without colours and fonts.

The page adds those (templates/page.js). Plotly reads a small subset of HTML in every text, so a
name that a user chose goes through `literal`.
"""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import plotly.graph_objects as go

Figure = dict[str, Any]  # Plotly's JSON: a list `data` of traces, and `layout`

TICKS_UP_TO = 12  # epochs; with few of them, Plotly would also label the halves between them
MARKERS_UP_TO = 30  # points on a line; the markers of more would merge into a band
POINTS = 100  # on a line of many; a screen would show no more
COUNTS_UP_TO = 30  # classes; with more, names and the numbers in the cells would not fit
NAME_LENGTH = 16  # characters of a class on an axis; longer names leave no room on a phone


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of a plot through the points (x, y)."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    dashed: bool = False


def thinned(line: Line, most: int = POINTS) -> Line:
    """Returns the line with at most so many of its points, evenly spaced, the ends among them."""
    if len(line.x) <= most:
        return line
    kept = np.unique(np.linspace(0, len(line.x) - 1, most).astype(int))
    return replace(line, x=[line.x[each] for each in kept], y=[line.y[each] for each in kept])


def literal(text: str) -> str:
    """Returns text that Plotly shows unchanged: `<b>` is shown as these three characters."""
    return html.escape(text, quote=False)


def new_figure() -> go.Figure:
    """Returns an empty figure without Plotly's own style, which the page's would mix with."""
    return go.Figure(layout={"template": "none"})


def to_json(figure: go.Figure) -> Figure:
    """Returns the figure as a page's template takes it."""
    figure_json: Figure = figure.to_plotly_json()
    return figure_json


def epoch_curves(lines: Sequence[Line], *, y_title: str, y_format: str, best: int | None) -> Figure:
    """Draws lines against the epoch, and marks the `best` epoch unless it is None.

    `y_format` is a number format of d3.
    """
    figure = new_figure()
    for line in lines:
        figure.add_scatter(
            name=literal(line.name),
            x=line.x,
            y=line.y,
            mode="lines+markers" if len(line.x) <= MARKERS_UP_TO else "lines",
            line={"dash": "dash" if line.dashed else "solid"},
        )
    if best is not None:
        figure.add_vline(x=best, line={"dash": "dot", "width": 1}, annotation={"text": "best"})
    epochs = max(len(line.x) for line in lines)
    figure.update_xaxes(title="Epoch", dtick=1 if epochs <= TICKS_UP_TO else None)
    figure.update_yaxes(title=y_title, tickformat=y_format, hoverformat=y_format)
    figure.update_layout(
        hovermode="x unified", legend={"orientation": "h", "y": 1, "yanchor": "bottom"}
    )
    return to_json(figure)


def confusion_matrix(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> Figure:
    """Draws a heat map of (true, predicted) counts, coloured by the share of the true class."""
    names = [literal(name) for name in classes]
    few = len(classes) <= COUNTS_UP_TO
    shares = [[round(count / max(1, sum(row)), 4) for count in row] for row in confusion]
    gap = int(few)  # of many classes, a cell may be no wider than a gap
    figure = new_figure()
    figure.add_heatmap(
        x=names,
        y=names,
        z=shares,
        text=confusion,
        texttemplate="%{text}" if few else None,
        hovertemplate="true %{y}<br>predicted %{x}<br>%{text} images, %{z:.1%}<extra></extra>",
        zmin=0,
        zmax=1,
        xgap=gap,
        ygap=gap,
        showscale=False,
    )
    # Class names such as "0" are names, not numbers.
    figure.update_xaxes(title="Predicted class", type="category", tickangle=-45)
    figure.update_yaxes(title="True class", type="category", autorange="reversed")
    each = slice(None, None, step_of_names(len(classes)))
    short = [literal(shortened(name)) for name in classes[each]]
    figure.update_xaxes(tickvals=names[each], ticktext=short)
    figure.update_yaxes(tickvals=names[each], ticktext=short)
    return to_json(figure)


def difference(value: float, low: float, high: float, *, margin: float, good: bool) -> Figure:
    """Draws a difference of shares in points with its interval, beside zero and the margin.

    A `good` difference has another colour than one that is not.
    """
    figure = new_figure()
    figure.add_scatter(
        x=[100 * value],
        y=["difference"],
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [100 * (high - value)],
            "arrayminus": [100 * (value - low)],
            "width": 8,
            "thickness": 3,
        },
        mode="markers",
        marker={"size": 14},
        meta={"series": 2 if good else 1},
        hovertemplate=f"%{{x:+.2f}} points, from {100 * low:+.2f} to {100 * high:+.2f}"
        "<extra></extra>",
    )
    marks = {0.0: "no difference"} | ({-100 * margin: "margin"} if margin else {})
    _mark_lines(figure, marks, (100 * low, 100 * high))
    figure.update_yaxes(visible=False)
    figure.update_layout(hovermode="closest", showlegend=False)
    return to_json(figure)


def _mark_lines(figure: go.Figure, marks: dict[float, str], interval: tuple[float, float]) -> None:
    """Draws vertical lines with their names, and an axis that has room for them and an interval."""
    ends = [*interval, *marks]
    for x, text in marks.items():
        side = "right" if x == max(ends) else "left"  # the side on which there is room for the text
        annotation = {"text": text, "xanchor": side}
        figure.add_vline(x=x, line={"dash": "dot", "width": 1}, annotation=annotation)
    room = 0.15 * (max(ends) - min(ends))
    figure.update_xaxes(
        title="Points of accuracy, challenger − champion",
        tickformat="+~g",
        range=[min(ends) - room, max(ends) + room],
    )


def step_of_names(count: int) -> int:
    """Returns n if of so many classes only each n-th can have a name on an axis."""
    return math.ceil(count / COUNTS_UP_TO)


def shortened(name: str, length: int = NAME_LENGTH) -> str:
    """Returns a name that fits on an axis, with … for the characters that were left out."""
    return name if len(name) <= length else name[: length - 1] + "…"
