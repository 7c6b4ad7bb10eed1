"""What each setting does is measured over seeds, in pairs of cells that differ in nothing else."""

import pytest

from fmnist.comparison.grid.settings import Setting
from fmnist.comparison.statistics.effects import Effect, setting_effects
from fmnist.comparison.statistics.significance import paired_differences
from tests.support.pages.comparisons import a_comparison, fail, stop
from tests.support.pages.grids import a_grid


def effects(comparison) -> dict[str, Effect]:
    return {effect.value: effect for effect in setting_effects(comparison, "validation")}


def accuracies(cell) -> dict[int, float]:
    return {run.seed: run.scores["validation"]["accuracy"] for run in cell.runs}


def test_a_value_is_compared_with_that_of_the_first_cell_over_all_pairs() -> None:
    comparison = a_grid("batch=512,256", "schedule=constant,one-cycle", "weight_decay=0,0.1,0.2")
    found = effects(comparison)
    assert list(found) == [
        "schedule one-cycle", "weight decay 0.1", "weight decay 0.2", "batch 256",
    ]  # fmt: skip
    assert [effect.pairs for effect in found.values()] == [6, 4, 4, 6]
    cycle, decay, batch = (found[name] for name in [*list(found)[:2], "batch 256"])
    assert (cycle.reference, decay.reference, batch.reference) == ("constant", "0", "512")
    assert cycle.difference.mean == pytest.approx(0.01, abs=2e-4)
    assert batch.difference.mean == pytest.approx(256 / 1e5, abs=2e-4)
    assert cycle.difference.significant and batch.difference.significant
    assert not decay.difference.significant


def test_the_test_is_that_of_the_means_by_seed() -> None:
    comparison = a_grid("batch=512,256", "schedule=constant,one-cycle", seeds=4)

    def means(name: str, value: Setting) -> dict[int, float]:
        pair = [accuracies(cell) for cell in comparison.cells if cell.settings[name] == value]
        return {seed: (pair[0][seed] + pair[1][seed]) / 2 for seed in range(4)}

    by_hand = paired_differences(
        {
            "schedule one-cycle": (means("schedule", "one-cycle"), means("schedule", "constant")),
            "batch 256": (means("batch", 256), means("batch", 512)),
        }
    )
    found = effects(comparison)
    assert found.keys() == by_hand.keys()
    for name, effect in found.items():
        assert effect.difference.p == pytest.approx(by_hand[name].p)
        assert effect.difference.mean == pytest.approx(by_hand[name].mean)


def test_an_ablation_compares_each_part_with_the_base() -> None:
    found = effects(a_grid(ablate="schedule,augmentation"))
    assert list(found) == ["without schedule", "without augmentation"]
    assert found["without schedule"].reference == "one-cycle"
    assert found["without schedule"].difference.mean == pytest.approx(-0.01, abs=3e-4)
    assert [effect.pairs for effect in found.values()] == [1, 1]


def test_the_reports_tables_are_pairs_of_the_cell_that_they_share() -> None:
    found = effects(a_comparison())
    assert found["activation tanh"].pairs == found["architecture resnet"].pairs == 1


def test_one_setting_has_no_effects_beside_the_ranking() -> None:
    assert effects(a_grid("batch=512,256")) == {}


def test_failed_and_stopped_runs_leave_the_other_seeds_and_pairs() -> None:
    comparison = a_grid("batch=512,256", "schedule=constant,one-cycle")
    fail(comparison.cells[0], 1, "no memory")
    cycle = effects(comparison)["schedule one-cycle"]
    assert (cycle.pairs, cycle.difference.n) == (2, 2)
    stop(comparison.cells[0], 0, 5)
    cycle = effects(comparison)["schedule one-cycle"]
    assert (cycle.pairs, cycle.difference.n) == (1, 3)
    for cell in comparison.cells:
        for seed in range(3):
            fail(cell, seed, "no memory")
    assert effects(comparison) == {}
