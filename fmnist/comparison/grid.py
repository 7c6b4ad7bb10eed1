"""Expands the axes of a comparison to its cells and runs."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Any

from fmnist.errors import UserError
from fmnist.run_settings import Training

FIELDS = ("architecture", "activation", "optimizer", "learning_rate")
MOST_EXPANDED = 10_000


@dataclass(frozen=True, kw_only=True)
class Axes:
    """Values of each axis; an empty axis has the value of the base configuration."""

    architecture: tuple[str, ...] = ()
    activation: tuple[str, ...] = ()
    optimizer: tuple[str, ...] = ()
    learning_rate: tuple[float, ...] = ()


# The published report's three tables; `report` is their union, with the cell that all share once.
COMPARISONS: dict[str, tuple[Axes, ...]] = {
    "architectures": (Axes(architecture=("dense", "cnn", "resnet", "inception")),),
    "activations": (Axes(activation=("sigmoid", "relu", "tanh")),),
    "optimizers": (Axes(optimizer=("rmsprop", "adam", "sgd")),),
}
COMPARISONS["report"] = tuple(axes for group in COMPARISONS.values() for axes in group)


def read_axes(
    comparison: str | None, values: Mapping[str, str]
) -> tuple[tuple[Axes, ...], list[str]]:
    """Returns the axes of a named comparison, or of values given as text, and the mistakes found.

    `values` has the text of each field, which is empty where no axis is given.
    """
    given = {field: text for field, text in values.items() if text}
    if not given:
        name = comparison or "report"
        if name in COMPARISONS:
            return COMPARISONS[name], []
        return (), [f"unknown comparison {name!r}: expected one of {', '.join(COMPARISONS)}"]
    problems = []
    if comparison:
        problems.append(
            f"found --comparison {comparison} and the axes {', '.join(given)}, expected one "
            "or the other"
        )
    found: dict[str, Any] = {}
    for field, text in given.items():
        try:
            found[field] = tuple(_read_axis(field, text))
        except UserError as error:
            problems += error.problems
    return (Axes(**found),), problems


def _read_axis(field: str, text: str) -> list[str] | list[float]:
    entries = [entry.strip() for entry in text.split(",")]
    if not all(entries):
        raise UserError(f"{field} is {text!r}, expected values with commas between them")
    if field != "learning_rate":
        return entries
    try:
        return [float(entry) for entry in entries]
    except ValueError as error:
        raise UserError(f"learning_rate is {text!r}, expected numbers") from error


def expand(groups: tuple[Axes, ...], base: Training) -> list[Training]:
    """Returns the cells, each once, in the order of their axes; a cell has the base's seed.

    Raises UserError for axes that span more than MOST_EXPANDED cells.
    """
    spanned = sum(
        prod(len(getattr(axes, field)) or 1 for field in FIELDS)  # an empty axis has one value
        for axes in groups
    )
    if spanned > MOST_EXPANDED:
        raise UserError(f"the axes span {spanned} cells, expected at most {MOST_EXPANDED}")
    cells = [
        replace(base, **dict(zip(FIELDS, values, strict=True)))
        for axes in groups
        for values in product(
            *(getattr(axes, field) or (getattr(base, field),) for field in FIELDS)
        )
    ]
    return list(dict.fromkeys(cells))


def with_seeds(cells: list[Training], seeds: int) -> list[Training]:
    """Returns the runs: all cells with seed 0, then all with 1, so that each has a result early."""
    return [replace(cell, seed=seed) for seed in range(seeds) for cell in cells]


def cell_name(cell: Training) -> str:
    """Returns the name of a cell in tables."""
    return " · ".join(f"{getattr(cell, field)}" for field in FIELDS)


def check_size(cells: list[Training], seeds: int, most: int) -> None:
    """Raises UserError for a grid of no runs, or of more cells than `most`."""
    problems = []
    if seeds < 1:
        problems.append(f"seeds is {seeds}, expected at least 1")
    if len(cells) > most:
        problems.append(f"the grid has {len(cells)} cells, expected at most {most} (--max-cells)")
    UserError.raise_if(problems)
