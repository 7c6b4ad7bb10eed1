"""The page of comparisons with failed, few, many or hostile values, in a real browser."""

from dataclasses import replace

import numpy as np

from fmnist.comparison.pages.text import make_headline
from fmnist.comparison.statistics.ranking import best_cell, rank_cells
from tests.support.pages.comparisons import (
    BEST,
    HOSTILE,
    a_comparison,
    a_hostile_one,
    a_run,
    an_evidence,
    cell,
    fail,
    renamed_task,
    stop,
    without_size,
)
from tests.support.pages.elements import count, rows, text


def test_another_task_is_not_put_beside_the_report(show) -> None:
    page = show(renamed_task(a_comparison(), "fashion"))
    assert count(page, "table") == 3  # of all cells, of the settings, of the best cell's classes
    assert count(page, ".point", 0) == 8 * 3 + 8
    assert "the labels of the task competition" in text(page)
    assert "91.37%" not in text(page)


def test_a_cell_is_not_called_better_for_the_seeds_that_another_lacks() -> None:
    """The last seed is hard for both, and the first cell's run of it failed."""
    comparison = a_comparison(seeds=5)
    first, second = comparison.cells[:2]
    for each, accuracies in (
        (first, (0.9, 0.9, 0.9001, 0.9)),
        (second, (0.9019, 0.9021, 0.902, 0.9022, 0.802)),
    ):
        each.runs[:] = [
            a_run(seed, accuracy, each.settings["architecture"], 20)
            for seed, accuracy in enumerate(accuracies)
        ]
    ranked = rank_cells(replace(comparison, cells=[first, second]))
    assert ranked[0].cell.name == first.name and ranked[1].difference.significant
    said = " ".join(make_headline(comparison, ranked).sentences)
    assert "0.20 points below the next" in said and "over the seeds that both have" in said
    assert "Behind it by more than noise" not in said


def test_failed_and_stopped_runs_are_shown(show) -> None:
    comparison = a_comparison()
    sgd, dense = cell(comparison, "sgd"), cell(comparison, "dense")
    for seed in range(3):
        fail(sgd, seed, f"the loss is NaN ({seed})")
    without_size(comparison, "sgd")
    stop(dense, 2, 9)
    page = show(comparison)
    assert page.errors() == []
    ranking = {row[0]: row for row in rows(page, 0)}
    assert ranking["cnn · relu · sgd"][1:4] == ["03 failed", "–", "–"]
    assert ranking["dense · relu · adam"][1] == "31 stopped"
    assert ranking["dense · relu · adam"][3] == "–stopped early: no statement"
    assert rows(page, 4)[-1][1:3] == ["–", "–"]  # beside the report
    shown = text(page)
    assert "cnn · relu · sgd · 0.0001, seed 1\nfailed: the loss is NaN (1)" in shown
    assert "dense · relu · adam · 0.0001, seed 2\nstopped early, after epoch 9" in shown


def test_a_comparison_in_which_all_failed_says_so(show) -> None:
    comparison = a_comparison(seeds=1)
    for each in comparison.cells:
        fail(each, 0, "no memory")
    comparison = replace(comparison, hardware={})
    assert best_cell(comparison) is None
    page = show(comparison)
    assert page.errors() == []
    assert "No run came to an end" in text(page) and count(page, ".plot") == 0
    assert "no memory" in text(page)


def test_one_seed_makes_no_statement(show) -> None:
    page = show(a_comparison(seeds=1))
    assert page.errors() == []
    assert "One seed." in text(page) and "one seed: no statement" in text(page)
    assert "±" not in "".join(rows(page, 0)[1])


def test_without_validation_cells_stand_by_training_accuracy(show) -> None:
    comparison = a_comparison()
    comparison.config["validation"] = 0
    for each in comparison.cells:
        for run in each.runs:
            del run.scores["validation"]
            for epoch in run.history:
                del epoch["val_loss"], epoch["val_accuracy"]
    page = show(comparison)
    assert page.errors() == []
    assert "of the training images right" in text(page)
    assert count(page, ".scatterlayer .js-line", 1) == count(page, ".legend .traces", 1) == 8
    assert rows(page, 0)[0][2] == "Training accuracy"


def test_a_comparison_of_one_cell_with_other_images(show) -> None:
    comparison = a_comparison()
    comparison = replace(comparison, cells=[cell(comparison, "tanh")])
    page = show(renamed_task(comparison, "flags", shape=(6, 9, 3), classes=("a", "b", "c")))
    assert page.errors() == []
    assert text(page).count("cnn · tanh · adam · 0.0001 is best") == 1
    images = "[...document.querySelectorAll('.gallery img')].map(i => i.naturalWidth)"
    assert set(page.value(images)) == {9}


def test_many_cells_of_one_epoch(show) -> None:
    comparison = a_comparison(seeds=1, epochs=1)
    cells = [
        replace(
            each,
            name=f"{each.name} · {copy}",
            settings={**each.settings, "learning_rate": 0.1 + copy},
        )
        for each in comparison.cells
        for copy in range(6)
    ]
    page = show(replace(comparison, cells=cells))
    assert page.errors() == []
    assert (len(rows(page, 0)), len(rows(page, 1))) == (1 + 30, 1 + 18)
    assert count(page, ".ytick", 0) == 30
    assert count(page, ".point", 1) == 2 * 20
    assert "None of these cells is in the report." in text(page)


def test_hostile_names_are_shown_and_do_nothing(show) -> None:
    page = show(a_hostile_one())
    assert page.errors() == []
    assert page.value("typeof attacked") == "undefined"
    assert count(page, ".plot.js-plotly-plot") == 8
    names = page.value("[...document.querySelectorAll('tbody th')].map(e => e.textContent)")
    assert set(HOSTILE) <= set(names)
    assert count(page, ".plot b, .plot img, .plot a") == 0
    legend = page.value(
        "[...document.querySelectorAll('.plot')[1].querySelectorAll('.legendtext')]"
        ".map(e => e.textContent.trim())"
    )
    assert set(HOSTILE[:4]) <= set(legend)


def test_evidence_without_mistakes(show) -> None:
    comparison = a_comparison()
    perfect = np.eye(5)[np.arange(600) % 5]
    evidence = an_evidence(comparison, BEST, probabilities=perfect)
    page = show(comparison, evidence)
    assert page.errors() == []
    assert "It made none on the test images." in text(page)
