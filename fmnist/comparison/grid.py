"""What a comparison consists of: axes, and the cells and runs that they span. Pure functions."""

from dataclasses import dataclass, replace
from itertools import product
from math import prod

from fmnist.errors import UserError
from fmnist.recipes import CHOICES, Training

FIELDS = ("architecture", "activation", "optimizer", "learning_rate")
MOST_EXPANDED = 10_000


@dataclass(frozen=True, kw_only=True)
class Axes:
    """The values of each axis; an empty axis has the base configuration's value."""

    architecture: tuple[str, ...] = ()
    activation: tuple[str, ...] = ()
    optimizer: tuple[str, ...] = ()
    learning_rate: tuple[float, ...] = ()


# The report's three tables; `report` is their union, in which the cell they share stands once.
COMPARISONS: dict[str, tuple[Axes, ...]] = {
    "architectures": (Axes(architecture=CHOICES["architecture"]),),
    "activations": (Axes(activation=("sigmoid", "relu", "tanh")),),
    "optimizers": (Axes(optimizer=("rmsprop", "adam", "sgd")),),
}
COMPARISONS["report"] = tuple(axes for group in COMPARISONS.values() for axes in group)


def expand(groups: tuple[Axes, ...], base: Training) -> list[Training]:
    """The cells, each once, in the order of their axes; a cell has the base's seed.

    Raises UserError for axes that span so many that they are better not even counted out.
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
    """The runs: each cell with seeds 0, 1, … in turn, so that all cells have some early."""
    return [replace(cell, seed=seed) for seed in range(seeds) for cell in cells]


def cell_name(cell: Training) -> str:
    """What a cell is called in tables."""
    return " · ".join(f"{getattr(cell, field)}" for field in FIELDS)


def check_size(cells: list[Training], seeds: int, most: int) -> None:
    """Raises UserError for a grid of no runs, or of more cells than `most`."""
    problems = []
    if seeds < 1:
        problems.append(f"seeds is {seeds}, expected at least 1")
    if len(cells) > most:
        problems.append(f"the grid has {len(cells)} cells, expected at most {most} (--max-cells)")
    UserError.raise_if(problems)
