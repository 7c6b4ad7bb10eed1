"""Figures for the pages: data and axes only; colours and fonts are the page's (templates/page.js).

Plotly reads a small subset of HTML in every text, so names that are not ours go through `literal`.
"""

import html
from dataclasses import dataclass

import plotly.graph_objects as go

TICKS_UP_TO = 12  # epochs: so few that half an epoch would be written between them
MARKERS_UP_TO = 30  # points on a line: more would merge into a band
COUNTS_UP_TO = 30  # classes: more would not leave room for their names and a number in each cell
NAME_LENGTH = 16  # of a class on an axis: longer ones would leave no room for the plot on a phone


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of a plot through the points (x, y)."""

    name: str
    x: list[float]
    y: list[float]
    dashed: bool = False


def literal(text: str) -> str:
    """Text that Plotly shows as it is: `<b>` stays four characters."""
    return html.escape(text, quote=False)


def epoch_curves(series: list[Line], *, y_title: str, y_format: str, best: int | None) -> go.Figure:
    """Lines against the epoch, with a mark at the `best` one if any is; `y_format` is d3's."""
    figure = go.Figure(layout={"template": "none"})
    for line in series:
        figure.add_scatter(
            name=literal(line.name),
            x=line.x,
            y=line.y,
            mode="lines+markers" if len(line.x) <= MARKERS_UP_TO else "lines",
            line={"dash": "dash" if line.dashed else "solid"},
        )
    if best is not None:
        figure.add_vline(x=best, line={"dash": "dot", "width": 1}, annotation={"text": "best"})
    epochs = max(len(line.x) for line in series)
    figure.update_xaxes(title="Epoch", dtick=1 if epochs <= TICKS_UP_TO else None)
    figure.update_yaxes(title=y_title, tickformat=y_format, hoverformat=y_format)
    figure.update_layout(
        hovermode="x unified", legend={"orientation": "h", "y": 1, "yanchor": "bottom"}
    )
    return figure


def confusion_matrix(confusion: list[list[int]], classes: list[str]) -> go.Figure:
    """Heat map of (true, predicted) counts, coloured by the share of the true class."""
    names = [literal(name) for name in classes]
    few = len(classes) <= COUNTS_UP_TO
    shares = [[count / max(1, sum(row)) for count in row] for row in confusion]
    figure = go.Figure(layout={"template": "none"})
    figure.add_heatmap(
        x=names,
        y=names,
        z=shares,
        text=confusion,
        texttemplate="%{text}" if few else None,
        hovertemplate="true %{y}<br>predicted %{x}<br>%{text} images, %{z:.1%}<extra></extra>",
        zmin=0,
        zmax=1,
        xgap=1,
        ygap=1,
        showscale=False,
    )
    # Class names such as "0" are names, not numbers.
    figure.update_xaxes(title="Predicted class", type="category", tickangle=-45)
    figure.update_yaxes(title="True class", type="category", autorange="reversed")
    if few:
        short = [literal(shortened(name)) for name in classes]
        figure.update_xaxes(tickvals=names, ticktext=short)
        figure.update_yaxes(tickvals=names, ticktext=short)
    return figure


def difference(value: float, low: float, high: float, *, margin: float, good: bool) -> go.Figure:
    """A difference of shares in points, with its interval, beside zero and what is allowed."""
    figure = go.Figure(layout={"template": "none"})
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
    ends = [100 * low, 100 * high, *marks]
    for x, text in marks.items():
        side = "right" if x == max(ends) else "left"  # where there is room for the text
        annotation = {"text": text, "xanchor": side}
        figure.add_vline(x=x, line={"dash": "dot", "width": 1}, annotation=annotation)
    room = 0.15 * (max(ends) - min(ends))
    figure.update_xaxes(
        title="Points of accuracy, challenger − champion",
        tickformat="+~g",
        range=[min(ends) - room, max(ends) + room],
    )
    figure.update_yaxes(visible=False)
    figure.update_layout(hovermode="closest", showlegend=False)
    return figure


def shortened(name: str, length: int = NAME_LENGTH) -> str:
    """A name that fits on an axis."""
    return name if len(name) <= length else name[: length - 1] + "…"
