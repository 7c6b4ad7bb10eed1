"""Makes the figures of a comparison; see `fmnist.pages.plots`.

A trace's `meta.series` is the number of its colour: a cell has the same colour in every plot.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from fmnist.pages.plots import (
    Figure,
    Line,
    literal,
    new_figure,
    shortened,
    step_of_names,
    thinned,
    to_json,
)
from fmnist.pages.scores import ClassScoresJson

LEGEND_UP_TO = 20  # lines; more names would fill the plot, and the pointer shows them as well
LOGARITHMIC_FROM = 4  # ratio of the largest to the smallest; a linear axis would merge the small
LABEL_LENGTH = 30  # characters of a cell's name on an axis
LEGEND = {"orientation": "h", "y": 1, "yanchor": "bottom", "tracegroupgap": 0}


@dataclass(frozen=True, kw_only=True)
class Point:
    """A cell at (x, y); y is the mean of the values `seeds`, and has this `deviation`.

    `tick` is its name on an axis.
    """

    name: str
    tick: str
    y: float
    deviation: float | None
    x: float = 0
    seeds: tuple[float, ...] = ()


def ranking(points: Sequence[Point], paper: Mapping[str, float], *, title: str) -> Figure:
    """Draws accuracies, a row for each cell; `paper` has the published report's, by name."""
    figure = new_figure()
    _add_seeds(figure, points)
    figure.add_scatter(
        name="ours: mean ± standard deviation",
        x=[point.y for point in points],
        y=[literal(point.name) for point in points],
        error_x={"type": "data", "array": [point.deviation or 0 for point in points], "width": 5},
        mode="markers",
        marker={"size": 11},
        meta={"series": 0},
        hovertemplate="%{y}<br>mean %{x:.2%}<extra></extra>",
    )
    if paper:
        figure.add_scatter(
            name="the report",
            x=list(paper.values()),
            y=[literal(name) for name in paper],
            mode="markers",
            marker={"size": 11, "symbol": "diamond-open", "line": {"width": 2}},
            meta={"series": 1},
            hovertemplate="%{y}<br>report %{x:.2%}<extra></extra>",
        )
    ticks = [shortened(point.tick, LABEL_LENGTH) for point in points]
    _name_rows(figure, [point.name for point in points], ticks)
    figure.update_xaxes(tickformat=".2~%", title=title)
    figure.update_layout(hovermode="closest", legend=LEGEND)
    return to_json(figure)


def _add_seeds(figure: go.Figure, points: Sequence[Point]) -> None:
    figure.add_scatter(
        name="one seed",
        x=[seed for point in points for seed in point.seeds],
        y=[literal(point.name) for point in points for _ in point.seeds],
        mode="markers",
        marker={"size": 7, "opacity": 0.4, "symbol": "circle-open"},
        meta={"series": 0},
        hovertemplate="%{y}<br>one seed: %{x:.2%}<extra></extra>",
    )


def cell_curves(
    validation: Sequence[Line], training: Sequence[Line], *, y_title: str, y_format: str
) -> Figure:
    """Draws lines against the epoch; the lines of a cell have its colour.

    Both sequences have the same cells in the same order, or `validation` is empty.
    """
    figure = new_figure()
    for part, lines in (("training", training), ("validation", validation)):
        for series, line in enumerate(map(thinned, lines)):
            figure.add_scatter(
                name=literal(line.name),
                x=line.x,
                y=line.y,
                mode="lines" if len(line.x) > 1 else "markers",
                line={"dash": "dot" if part == "training" else "solid", "width": 2},
                legendgroup=str(series),
                showlegend=part == "validation" or not validation,
                meta={"series": series},
                hovertemplate=f"%{{fullData.name}}<br>{part}, epoch %{{x}}: %{{y}}<extra></extra>",
            )
    figure.update_xaxes(title="Epoch")
    figure.update_yaxes(title=y_title, tickformat=y_format, hoverformat=y_format)
    figure.update_layout(hovermode="closest", legend=LEGEND)
    return to_json(figure)


def cost(points: Sequence[Point], *, x_title: str, x_hover: str, y_title: str) -> Figure:
    """Draws accuracy against a cost, a point for each cell; `x_hover` is a template of d3.

    More points than a legend has room for have one colour.
    """
    figure = new_figure()
    few = len(points) <= LEGEND_UP_TO
    for series, group in enumerate([[point] for point in points] if few else [points]):
        figure.add_scatter(
            name=literal(group[0].name),
            x=[point.x for point in group],
            y=[point.y for point in group],
            text=[literal(point.name) for point in group],
            error_y={"type": "data", "array": [point.deviation or 0 for point in group]},
            mode="markers",
            marker={"size": 11 if few else 7},
            meta={"series": series},
            hovertemplate=f"%{{text}}<br>{x_hover}<br>%{{y:.2%}}<extra></extra>",
        )
    figure.update_xaxes(title=x_title, tickformat="~s")
    amounts = [point.x for point in points]
    if 0 < LOGARITHMIC_FROM * min(amounts) < max(amounts):
        figure.update_xaxes(type="log", dtick="D2")  # labels at 1, 2, 5, 10, 20, …
    figure.update_yaxes(title=y_title, tickformat=".1~%")
    figure.update_layout(hovermode="closest", showlegend=few and len(points) > 1, legend=LEGEND)
    return to_json(figure)


def class_f1(per_class: Sequence[ClassScoresJson]) -> Figure:
    """Draws the F1 of each class with its 95% interval; the row of a class without it is empty."""
    figure = new_figure()
    known = [(scores, scores["f1"]) for scores in per_class if scores["f1"] is not None]
    bounds = [scores["intervals"].get("f1", [f1, f1]) for scores, f1 in known]
    figure.add_scatter(
        x=[f1 for _, f1 in known],
        y=[literal(scores["name"]) for scores, _ in known],
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [high - f1 for (_, f1), (_, high) in zip(known, bounds, strict=True)],
            "arrayminus": [f1 - low for (_, f1), (low, _) in zip(known, bounds, strict=True)],
            "width": 5,
        },
        mode="markers",
        marker={"size": 10},
        hovertemplate="%{y}: %{x:.2%}<extra></extra>",
    )
    names = [scores["name"] for scores in per_class]
    each = step_of_names(len(names))
    ticks = [shortened(name, LABEL_LENGTH) if not i % each else "" for i, name in enumerate(names)]
    _name_rows(figure, names, ticks)
    figure.update_xaxes(tickformat=".1~%", title="F1")
    return to_json(figure)


def roc_curves(curves: Sequence[Line]) -> Figure:
    """Draws the ROC curve of each class against the rest, and the diagonal of a random guess."""
    figure = new_figure()
    for series, curve in enumerate(curves):
        figure.add_scatter(
            name=literal(curve.name),
            x=curve.x,
            y=curve.y,
            mode="lines",
            meta={"series": series},
            hovertemplate="%{fullData.name}<br>%{y:.1%} found at %{x:.1%} false<extra></extra>",
        )
    figure.add_shape(type="line", x0=0, y0=0, x1=1, y1=1, line={"dash": "dot", "width": 1})
    figure.update_xaxes(title="False positive rate", tickformat=".0%", range=[-0.01, 1.01])
    figure.update_yaxes(title="True positive rate", tickformat=".0%", range=[-0.01, 1.01])
    legend = {
        "x": 1,
        "xanchor": "right",
        "y": 0.02,
        "yanchor": "bottom",
        "bgcolor": "rgba(0, 0, 0, 0)",
    }
    figure.update_layout(hovermode="closest", showlegend=len(curves) <= LEGEND_UP_TO, legend=legend)
    return to_json(figure)


def _name_rows(figure: go.Figure, names: Sequence[str], ticks: Sequence[str]) -> None:
    rows = [literal(name) for name in names]
    figure.update_yaxes(
        type="category",
        categoryorder="array",
        categoryarray=rows,
        range=[len(rows) - 0.5, -0.5],
        tickvals=rows,
        ticktext=[literal(tick) for tick in ticks],
    )
