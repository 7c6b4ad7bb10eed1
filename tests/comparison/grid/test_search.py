"""A search draws the same cells again, and none of them twice; its space has ends."""

from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from fmnist.comparison.grid.cells import Grid
from fmnist.comparison.grid.search import SearchSpace, read_space
from fmnist.errors import UserError
from fmnist.recipes import RECIPES
from fmnist.run_settings import resolve_auto
from fmnist.tasks import COMPETITION

BASE = RECIPES["quick"]
RATE = "learning_rate=1e-4..1e-2:log"


def space(*ranges: str, axes: tuple[str, ...] = (), trials: int = 20, seed: int = 0) -> SearchSpace:
    return read_space(BASE, axes=axes, ranges=ranges, trials=trials, seed=seed)[0]


def drawn(*ranges: str, trials: int = 20, **options: Any) -> Grid:
    return Grid(cells=space(*ranges, trials=trials, **options).draw_new(trials))


def mistakes(*ranges: str, **options) -> str:
    with pytest.raises(UserError) as error:
        drawn(*ranges, **options)
    return str(error.value)


def test_a_longer_search_begins_with_the_cells_of_a_shorter_one() -> None:
    long = drawn(RATE, "batch=8..9", trials=100).cells
    assert len(set(long)) == 100
    assert drawn(RATE, "batch=8..9", trials=10).cells == long[:10]
    assert drawn(RATE, "batch=8..9", seed=1).cells[0] != long[0]


def test_the_cells_are_the_same_on_every_machine_and_in_every_version() -> None:
    first = drawn(RATE, "batch=16..512", axes=("schedule=constant,one-cycle",)).cells[0]
    assert (first.learning_rate, first.batch, first.schedule) == (0.00607, 186, "one-cycle")


def test_a_value_does_not_depend_on_which_others_are_searched() -> None:
    alone = [cell.learning_rate for cell in drawn(RATE).cells]
    both = drawn("batch=16..512:log", RATE, axes=("activation=relu,tanh", "select=best")).cells
    assert [cell.learning_rate for cell in both] == alone
    assert {cell.select for cell in both} == {"best"}
    assert {cell.activation for cell in both} == {"relu", "tanh"}


def test_the_order_of_the_settings_is_not_that_of_the_flags() -> None:
    """What Optuna suggests depends on it."""
    axes = ("activation=relu,tanh", "architecture=cnn,dense")
    one, other = space(RATE, axes=axes).domains, space(RATE, axes=axes[::-1]).domains
    assert list(one) == list(other) and one == other


def test_values_are_in_their_range_and_as_likely_as_they_should_be() -> None:
    cells = drawn(
        RATE, "batch=1..1000:log", "weight_decay=0..0.1", "epochs=3..5", trials=2000
    ).cells
    rates = sorted(cell.learning_rate for cell in cells)
    assert rates[0] >= 1e-4 and rates[-1] <= 1e-2 and rates[1000] == pytest.approx(1e-3, rel=0.2)
    decays = sorted(cell.weight_decay for cell in cells)
    assert decays[0] >= 0 and decays[-1] <= 0.1 and decays[1000] == pytest.approx(0.05, rel=0.1)
    batches = sorted(cell.batch for cell in cells)
    assert batches[0] == 1 and batches[1000] == pytest.approx(31.6, rel=0.25)
    assert {type(batch) for batch in batches} == {int}
    assert {cell.epochs for cell in cells} == {3, 4, 5}


def test_all_of_a_few_cells_are_found_and_no_more() -> None:
    cells = drawn("epochs=1..3", axes=("schedule=constant,one-cycle",), trials=6).cells
    assert len(set(cells)) == 6 and replace(BASE, epochs=2) in cells
    assert "trials is 7, expected at most 6: no more" in mistakes(
        "epochs=1..3", axes=("schedule=constant,one-cycle",), trials=7
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rate", "expected NAME=LOW..HIGH or"),
        ("learning_rate=1e-3", "expected NAME=LOW..HIGH or"),
        ("learning_rate=1..x", "learning_rate is 'x', expected a number"),
        ("batch=1.5..x", "2 mistakes"),
        ("learning_rate=0..1:log", "expected a positive lower end"),
        ("learning_rate=2..1", "from a lower to a higher number"),
        ("learning_rate=1..inf", "expected a finite range"),
        (f"batch=1..{10**400}", "expected a finite range"),
        ("learnin_rate=1..2", "did you mean learning_rate?"),
        ("schedule=a..b", "schedule has no range; expected --axis schedule=…"),
        ("seed=0..5", "seed can't be searched: --seeds N"),
    ],
)
def test_mistakes_in_ranges(text: str, message: str) -> None:
    assert message in mistakes(text)


def test_all_mistakes_are_told_together() -> None:
    told = mistakes(RATE, "x=1..2", axes=("learning_rate=1,2",), trials=0)
    assert told.startswith("3 mistakes")
    assert "found values of learning_rate twice" in told and "trials is 0, expected 1" in told
    assert "found nothing to search" in mistakes()


def test_the_ends_show_every_mistake_that_a_cell_can_have() -> None:
    ends = space("batch=8..64", "epochs=1..3", axes=("schedule=constant,one-cycle",)).ends()
    assert [(cell.schedule, cell.batch, cell.epochs) for cell in ends] == [
        ("constant", 8, 1), ("one-cycle", 8, 1), ("constant", 64, 1), ("constant", 8, 3),
    ]  # fmt: skip


def test_a_changed_space_has_changed_choices_and_the_same_ranges() -> None:
    before = space("batch=8..64", axes=("augmentation=none,auto", "schedule=one-cycle"))
    resolve = partial(resolve_auto, task=COMPETITION, examples=100)
    after = before.changed(resolve)
    assert after.domains["augmentation"].ends == ["none", COMPETITION.augmentation]
    assert after.domains["batch"] == before.domains["batch"]
    # The base's batch, which no cell has, is more than there are examples.
    assert BASE.batch > 100
    with pytest.raises(UserError, match="batch is 64, but competition has 45 examples"):
        before.changed(partial(resolve_auto, task=COMPETITION, examples=50))


def test_known_cells_are_not_drawn_again() -> None:
    drawn = space("epochs=1..3", trials=3)
    first = drawn.draw_new(2)
    (third,) = drawn.draw_new(2, first)
    assert {*first, third} == {replace(BASE, epochs=epochs) for epochs in (1, 2, 3)}
