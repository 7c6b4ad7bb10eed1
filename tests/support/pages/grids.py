"""Makes comparisons of grids over any settings, with made-up numbers."""

from dataclasses import replace

import numpy as np

from fmnist.comparison.facts import ComparedCell, Comparison
from fmnist.comparison.grid.cells import Grid, make_grid
from fmnist.comparison.grid.search import read_space
from fmnist.comparison.grid.settings import settings_of, shown_settings
from fmnist.recipes import RECIPES
from tests.support.pages.comparisons import LAYERS, PARAMETERS, a_comparison, a_run


def a_search(
    *ranges: str, axes: tuple[str, ...] = (), trials: int = 20, seeds: int = 1
) -> Comparison:
    """Returns a comparison of drawn cells, which are as good as those of a grid."""
    _, cells = read_space(RECIPES["quick"], axes=axes, ranges=ranges, trials=trials, seed=0)
    return _comparison(Grid(cells=cells), "search", seeds, 20)


def a_grid(*axes: str, ablate: str = "", seeds: int = 3, epochs: int = 20) -> Comparison:
    """Returns a comparison of these axes of the recipe quick.

    Smaller batches and one-cycle are better, by much more than the noise of a seed; other settings
    have no effect.
    """
    grid = make_grid(RECIPES["quick"], comparison=None, axes=axes, ablate=ablate)
    return _comparison(grid, "ablation" if ablate else "custom", seeds, epochs)


def _comparison(grid: Grid, name: str, seeds: int, epochs: int) -> Comparison:
    shown = shown_settings(grid.cells)
    shared = {name: value for name, value in vars(grid.cells[0]).items() if name not in shown}
    return replace(
        a_comparison(seeds, epochs),
        name=name,
        config=shared,
        cells=[_cell(grid, place, seeds, epochs) for place in range(len(grid.cells))],
        ablated=grid.ablated,
    )


def _cell(grid: Grid, place: int, seeds: int, epochs: int) -> ComparedCell:
    cell = grid.cells[place]
    good = 0.9 - cell.batch / 1e5 + 0.01 * (cell.schedule == "one-cycle")
    noise = np.random.default_rng(place).normal(scale=1e-4, size=seeds)
    runs = [a_run(seed, good + float(noise[seed]), "cnn", epochs) for seed in range(seeds)]
    return ComparedCell(
        name=grid.names[place],
        settings=settings_of(cell, shown_settings(grid.cells)),
        parameters=PARAMETERS["cnn"],
        layers=LAYERS["cnn"],
        runs=[replace(run, id=f"cell{place}-{run.seed}") for run in runs],
        failures=[],
    )
