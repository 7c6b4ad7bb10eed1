"""Optuna suggests better cells than chance does, and the same ones again."""

import math
from itertools import islice

import pytest

from fmnist.comparison.grid.cells import Grid, resolve_grid
from fmnist.comparison.grid.optuna_search import OptunaSearch
from fmnist.comparison.grid.search import SearchSpace, read_space
from fmnist.errors import UserError
from fmnist.recipes import RECIPES
from fmnist.run_settings import Training
from fmnist.tasks import COMPETITION, FASHION

RANGES = ("learning_rate=1e-5..1:log", "batch=32..512")
AXES = ("schedule=constant,one-cycle", "select=last")


def space(*ranges: str, axes: tuple[str, ...] = (), trials: int = 40) -> SearchSpace:
    return read_space(RECIPES["quick"], axes=axes, ranges=ranges, trials=trials, seed=0)[0]


def accuracy(cell: Training) -> float:
    """Is highest for one-cycle, a learning rate of 0.001 and a batch of 128."""
    distance = abs(math.log10(cell.learning_rate) + 3) + abs(cell.batch - 128) / 500
    return 0.9 - distance / 10 + 0.03 * (cell.schedule == "one-cycle")


def searched(search: OptunaSearch) -> dict[Training, float | None]:
    ended: dict[Training, float | None] = {}
    while new := search.suggest(ended):
        ended |= {cell: accuracy(cell) for cell in new}
    return ended


def test_later_cells_are_better_than_drawn_ones() -> None:
    found = space(*RANGES, axes=AXES)
    ended = searched(OptunaSearch(space=found, trials=40, round_size=4))
    assert len(ended) == 40
    late, drawn = list(ended)[20:], found.draw_new(40)
    assert sum(map(accuracy, late)) / 20 > sum(map(accuracy, drawn)) / 40 + 0.05
    assert all(
        1e-5 <= cell.learning_rate <= 1 and 32 <= cell.batch <= 512 and cell.select == "last"
        for cell in ended
    )


def test_from_any_round_on_the_same_cells_follow() -> None:
    search = OptunaSearch(space=space(*RANGES, axes=AXES, trials=14), trials=14, round_size=4)
    ended = searched(search)
    again = searched(search)
    assert again == ended
    for known in (4, 8, 12):
        before = dict(islice(ended.items(), known))
        assert search.suggest(before) == list(ended)[known : known + 4]
    longer = OptunaSearch(space=search.space, trials=40, round_size=4)
    assert longer.suggest(dict(islice(ended.items(), 8))) == list(ended)[8:12]


def test_accuracies_decide_what_follows() -> None:
    search = OptunaSearch(space=space(*RANGES), trials=40, round_size=12)
    ended = searched(OptunaSearch(space=search.space, trials=12, round_size=12))
    turned = {cell: -(each or 0) for cell, each in ended.items()}
    assert search.suggest(ended) != search.suggest(turned)


def test_a_cell_whose_runs_all_failed_does_not_end_the_search() -> None:
    search = OptunaSearch(space=space(*RANGES), trials=8, round_size=4)
    ended = dict.fromkeys(search.suggest({}))
    assert len(search.suggest(ended)) == 4


def test_a_search_of_fewer_cells_than_trials_is_refused_when_the_task_is_known() -> None:
    few = space("epochs=1..2", axes=("augmentation=auto,flip",), trials=4)
    grid = Grid(cells=few.ends(), search=OptunaSearch(space=few, trials=4, round_size=2))
    assert len(resolve_grid(grid, FASHION, 60_000).cells) == 2
    with pytest.raises(UserError, match="trials is 4, expected at most 2: no more"):
        resolve_grid(grid, COMPETITION, 60_000)


def test_each_of_a_few_cells_is_suggested_once() -> None:
    few = space("epochs=1..3", axes=("schedule=constant,one-cycle",), trials=6)
    ended = searched(OptunaSearch(space=few, trials=6, round_size=4))
    assert len(ended) == 6
