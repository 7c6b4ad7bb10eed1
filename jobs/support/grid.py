"""The flags of a comparison's grid, and the grid that they make."""

from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from typing import Annotated

import tyro

from fmnist.comparison.grid.cells import COMPARISONS, ComparisonName, Grid, check_size, make_grid
from fmnist.comparison.grid.optuna_search import OptunaSearch
from fmnist.comparison.grid.search import SEARCH, read_space
from fmnist.comparison.grid.settings import ALWAYS_SHOWN, AXES
from fmnist.errors import UserError, together
from fmnist.recipes import RECIPES, RecipeName
from fmnist.run_settings import Cluster, Precision, Training, check

DEFAULT_RECIPE = "report"
SEARCHES = ("random", "optuna")


@dataclass(frozen=True, kw_only=True)
class Base:
    """Settings of all cells, but for those that are an axis; without the flag, the recipe's."""

    epochs: int = RECIPES[DEFAULT_RECIPE].epochs
    """Epochs of every cell."""
    batch: int = RECIPES[DEFAULT_RECIPE].batch
    """Images in a step over all workers of a run together."""
    precision: Precision = RECIPES[DEFAULT_RECIPE].precision
    """bfloat16: mixed with float32; auto: bfloat16 where the hardware has it, else float32."""
    validation: float = RECIPES[DEFAULT_RECIPE].validation
    """Share of the training examples held out."""
    deterministic: bool = RECIPES[DEFAULT_RECIPE].deterministic
    """Kernels that add in one order, so that a run has the same bytes again."""
    workers: int = 1
    """Workers of each run; a fixed number, so that runs can be compared."""


@dataclass(frozen=True, kw_only=True)
class GridFlags:
    """What is compared."""

    recipe: RecipeName | str = DEFAULT_RECIPE
    """Settings that cells have where nothing else sets them: see fmnist/recipes.py."""
    comparison: ComparisonName | str | None = None
    """architectures, activations, optimizers or report."""
    axis: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """NAME=VALUE,VALUE of any setting of training, such as batch=256,1024; one value sets it."""
    ablate: str = ""
    """Settings that are left out one at a time, with commas between them."""
    search: str = ""
    """random: the cells are drawn from --range and --axis; optuna: where accuracy is higher."""
    trials: int = 0
    """Cells of a search."""
    range: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """NAME=LOW..HIGH of a setting that is searched; with :log behind it, by factors."""
    round_size: int = 4
    """Cells that optuna suggests at once, when all before them have ended."""
    search_seed: int = 0
    """Decides which cells are drawn."""
    architecture: str = ""
    """Axis: names with commas between them."""
    activation: str = ""
    """Axis."""
    optimizer: str = ""
    """Axis."""
    learning_rate: str = ""
    """Axis: numbers with commas between them."""
    seeds: int = 1
    """Runs of each cell, with seeds 0, 1, …"""
    base: Annotated[Base, tyro.conf.arg(name="")] = field(default_factory=Base)
    max_cells: int = 200
    """A larger grid is refused."""
    early_stopping: bool = False
    """End hopeless runs early (ASHA): quicker, but no longer a fair comparison."""


def comparison_name(flags: GridFlags) -> str:
    """Returns the name in the id of the result."""
    if flags.search:
        return SEARCH
    return flags.comparison or ("ablation" if flags.ablate else "custom")


def find_grid(flags: GridFlags, cluster: Cluster) -> Grid:
    """Returns the grid; raises UserError that lists all mistakes in the flags."""
    base = replace(RECIPES[flags.recipe], **vars(flags.base))
    axes, problems = all_axes(flags), []
    grids = (flags.comparison, flags.ablate, flags.search)
    if flags.recipe != DEFAULT_RECIPE and not axes and not any(grids):
        problems.append(
            f"found --recipe {flags.recipe}, and nothing to compare; expected --comparison, "
            "--axis, --ablate or --search"
        )
    if flags.search:
        grid = find_search(flags, base)
    elif flags.range or flags.trials:
        raise UserError("found --range or --trials, but no --search; expected --search")
    else:
        grid = make_grid(base, comparison=flags.comparison, axes=axes, ablate=flags.ablate)
    if flags.early_stopping and not flags.base.validation:
        problems.append("early stopping judges by validation loss, but validation is 0")
    if flags.early_stopping and len({cell.epochs for cell in grid.cells}) > 1:
        problems.append("early stopping compares runs of as many epochs, but epochs is an axis")
    together(
        lambda: UserError.raise_if(problems),
        lambda: check(base, cluster),
        *(lambda cell=cell: check(cell, cluster) for cell in grid.cells),
        lambda: check_size(flags.trials or len(grid.cells), flags.seeds, flags.max_cells),
    )
    return grid


def find_search(flags: GridFlags, base: Training) -> Grid:
    """Returns the cells of a search; raises UserError that lists all mistakes in its flags."""
    problems = []
    if flags.search not in SEARCHES:
        problems.append(f"unknown search {flags.search!r}: expected {' or '.join(SEARCHES)}")
    problems += [
        f"found --search and --{name}, expected one or the other"
        for name in ("comparison", "ablate")
        if getattr(flags, name)
    ]
    if flags.search == "optuna" and not flags.base.validation:
        problems.append("optuna judges by validation accuracy, but validation is 0")
    if flags.round_size < 1:
        problems.append(f"round size is {flags.round_size}, expected at least 1")
    if flags.search == "optuna" and not find_spec("optuna"):
        problems.append(
            "--search optuna needs the package optuna: pip install '.[optuna]', or "
            "-r requirements-optuna.txt"
        )
    read = partial(
        read_space,
        base,
        axes=all_axes(flags),
        ranges=flags.range,
        trials=flags.trials,
        seed=flags.search_seed,
    )
    *_, found = together(lambda: UserError.raise_if(problems), read)
    assert found is not None, "`read` returned it"
    space, cells = found
    if flags.search == "random":
        return Grid(cells=cells)
    search = OptunaSearch(space=space, trials=flags.trials, round_size=flags.round_size)
    return Grid(cells=space.ends(), search=search)


def all_axes(flags: GridFlags) -> list[str]:
    """Returns the axes that have a flag of their own, and the others."""
    own = [f"{name}={text}" for name in ALWAYS_SHOWN if (text := getattr(flags, name))]
    return own + list(flags.axis)


def axes_with_recipe(flags: GridFlags) -> tuple[str, ...]:
    """Returns the axes, and the recipe's settings as axes of one value, for the published file.

    So the file stays the same comparison if a recipe is changed.
    """
    defaults, recipe = RECIPES[DEFAULT_RECIPE], RECIPES[flags.recipe]
    texts = [*all_axes(flags), *flags.range]
    given = {text.partition("=")[0].strip().replace("-", "_") for text in texts}
    given |= {name for group in COMPARISONS.get(flags.comparison or "", ()) for name in group}
    added = (
        f"{name}={getattr(recipe, name)}"
        for name in AXES
        if name not in given | vars(flags.base).keys()
        and getattr(recipe, name) != getattr(defaults, name)
    )
    return (*flags.axis, *added)
