"""Expands the axes of a comparison to its cells and runs."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from math import prod
from typing import Literal

from fmnist.comparison.grid.axes import read_ablated, read_axes
from fmnist.comparison.grid.optuna_search import OptunaSearch
from fmnist.comparison.grid.settings import (
    AXES,
    DEFAULTS,
    MOST_EXPANDED,
    Axes,
    cell_labels,
    cell_name,
    settings_of,
    shown_settings,
    value_text,
)
from fmnist.errors import UserError, together, unknown
from fmnist.run_settings import Training, resolve_auto
from fmnist.tasks import Task

ComparisonName = Literal["architectures", "activations", "optimizers", "report"]

# The published report's three tables; `report` is their union, with the cell that all share once.
COMPARISONS: dict[str, tuple[Axes, ...]] = {
    "architectures": ({"architecture": ("dense", "cnn", "resnet", "inception")},),
    "activations": ({"activation": ("sigmoid", "relu", "tanh")},),
    "optimizers": ({"optimizer": ("rmsprop", "adam", "sgd")},),
}
COMPARISONS["report"] = tuple(axes for group in COMPARISONS.values() for axes in group)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The cells of a comparison, each once.

    The first of them, its base, has all the `ablated` settings; each of the others may be without
    one of these. With a `search` that suggests its cells later, `cells` are the ends of its space.
    """

    cells: list[Training]
    ablated: tuple[str, ...] = ()
    search: OptunaSearch | None = None

    def changed(self, change: Callable[[Training], Training]) -> "Grid":
        """Returns the grid with what `change` makes of each cell."""
        search = self.search and self.search.changed(change)
        return replace(self, cells=[change(cell) for cell in self.cells], search=search)

    @property
    def names(self) -> list[str]:
        """The name of each cell."""
        shown = shown_settings(self.cells)
        return [cell_name(settings_of(cell, shown), self.ablated) for cell in self.cells]

    @property
    def labels(self) -> list[str]:
        """A short name of each cell: what differs between them."""
        shown = shown_settings(self.cells)
        return cell_labels([settings_of(cell, shown) for cell in self.cells], self.ablated)


def make_grid(
    base: Training, *, comparison: str | None, axes: Iterable[str], ablate: str = ""
) -> Grid:
    """Returns the grid of a named comparison, of axes such as `batch=256,1024`, or of both.

    An axis of one value sets it in all cells; without any axes, the grid is the report's. `ablate`
    has names of settings with commas between them: the grid also has its cells without the one
    setting, and without the other. Raises UserError that lists all mistakes.
    """
    given, problems = read_axes(axes)
    ablated = read_ablated(ablate, problems)
    name = comparison or ("" if given or ablate else "report")
    if name and name not in COMPARISONS:
        problems.append(unknown("comparison", name, COMPARISONS))
    groups: Sequence[Axes] = COMPARISONS.get(name, ({},))
    problems += [
        f"found --comparison {name}, which has the axis {each}, and values of {each}; expected one "
        "or the other"
        for each in given
        if any(each in group for group in groups)
    ]
    base = replace(base, **{each: values[0] for each, values in given.items()})  # type: ignore[arg-type]
    groups = [{**given, **group} for group in groups]
    problems += _ablation_problems(ablated, groups, base)
    UserError.raise_if(problems)
    left_out: list[Axes] = [{each: (getattr(DEFAULTS, each),)} for each in ablated]
    return Grid(
        cells=expand([{**group, **out} for out in ({}, *left_out) for group in groups], base),
        ablated=tuple(ablated),
    )


def expand(groups: Sequence[Axes], base: Training) -> list[Training]:
    """Returns the cells, each once, in the order of their axes; a cell has the base's seed.

    The axes are in the order of the fields of `Training`, whichever was named first. Raises
    UserError for axes that span more than MOST_EXPANDED cells.
    """
    spanned = sum(prod(map(len, axes.values())) for axes in groups)
    if spanned > MOST_EXPANDED:
        raise UserError(f"the axes span {spanned} cells, expected at most {MOST_EXPANDED}")
    cells = []
    for axes in groups:
        names = [name for name in AXES if name in axes]
        for values in product(*(axes[name] for name in names)):
            cells.append(replace(base, **dict(zip(names, values, strict=True))))  # type: ignore[arg-type]
    return list(dict.fromkeys(cells))


def resolve_grid(grid: Grid, task: Task, examples: int) -> Grid:
    """Returns the grid for this task, of a search its first round; see `run_settings.resolve_auto`.

    Raises UserError that lists the cells which the task cannot serve, or that two are the same.
    """
    if grid.search:
        search = grid.search.changed(partial(resolve_auto, task=task, examples=examples))
        search.space.draw_all(search.trials)
        return replace(grid, cells=search.suggest({}), search=search)
    resolved = together(*(partial(resolve_auto, cell, task, examples) for cell in grid.cells))
    cells: dict[Training, str] = {}
    problems = []
    for cell, name in zip(resolved, grid.names, strict=True):
        if cell in cells:
            problems.append(
                f"the cells {cells[cell]} and {name} are the same: for the task {task.name}, the "
                f"augmentation auto is {task.augmentation}; networks and weights in two files are "
                "one if the files have the same content"
            )
        cells.setdefault(cell, name)
    UserError.raise_if(problems)
    return replace(grid, cells=list(cells))


def with_seeds(cells: list[Training], seeds: int) -> list[Training]:
    """Returns the runs: all cells with seed 0, then all with 1, so that each has a result early."""
    return [replace(cell, seed=seed) for seed in range(seeds) for cell in cells]


def check_size(cells: int, seeds: int, most: int) -> None:
    """Raises UserError for a grid of no runs, or of more cells than `most`."""
    problems = []
    if seeds < 1:
        problems.append(f"seeds is {seeds}, expected at least 1")
    if cells > most:
        problems.append(f"the grid has {cells} cells, expected at most {most} (--max-cells)")
    UserError.raise_if(problems)


def _ablation_problems(ablated: list[str], groups: Sequence[Axes], base: Training) -> list[str]:
    problems = []
    for name in ablated:
        default = getattr(DEFAULTS, name)
        if any(len(group.get(name, ())) > 1 for group in groups):
            problems.append(f"found {name} as an axis and in --ablate, expected one or the other")
        elif getattr(base, name) == default:
            problems.append(
                f"the base is without {name} already ({value_text(name, default)}): --ablate "
                f"{name} would leave nothing out; --recipe or --axis {name}=VALUE sets the base"
            )
    return problems
