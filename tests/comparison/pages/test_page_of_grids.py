"""The page of a grid over any settings: names, what each setting does, and 200 cells."""

import pyarrow as pa

from fmnist.comparison.pages.figures import RANKED
from fmnist.comparison.pages.page import comparison_page
from fmnist.comparison.pages.tables import comparison_table
from fmnist.comparison.pages.text import comparison_markdown
from fmnist.comparison.statistics.ranking import best_cell
from tests.support.pages.comparisons import an_evidence, fail
from tests.support.pages.elements import count, rows, text, texts
from tests.support.pages.grids import a_grid, a_search

LARGE = (
    "batch=64,128,256,512,1024", "schedule=constant,one-cycle",
    "label_smoothing=0,0.05,0.1,0.2,0.3", "weight_decay=0,0.01,0.05,0.1",
)  # fmt: skip


def test_200_cells_stay_readable(show) -> None:
    comparison = a_grid(*LARGE)
    for cell in comparison.cells[:40]:
        fail(cell, 0, "no memory")
        fail(cell, 1, "no memory")
    page = show(comparison, width=375)
    assert page.errors() == []
    assert page.value("document.documentElement.scrollWidth") <= 375
    assert len(rows(page, 0)) == 1 + RANKED
    assert texts(page, "summary") == [f"The other {200 - RANKED} cells"]
    assert len(rows(page, 1)) == 1 + 200 - RANKED
    assert "30 more\nsee results.parquet" in text(page)
    assert count(page, ".ytick", 0) == RANKED
    for curves in (1, 2):
        assert count(page, ".scatterlayer .js-line", curves) == 2 * 20
    assert count(page, ".js-line", 3) >= 200
    for costs in (4, 5):
        assert count(page, ".point", costs) == 200
    captions = texts(page, "figcaption")
    axes = "schedule · weight decay · label smoothing · batch"
    assert captions[0] == f"Validation accuracy of the 30 best of 200 cells: {axes}"
    ticks = [tick.replace("\xa0", " ") for tick in texts(page, ".ytick text")[:RANKED]]
    assert len(set(ticks)) == RANKED and all("…" not in tick for tick in ticks), ticks
    assert "None of these cells is in the report." in text(page)


def test_200_cells_of_many_seeds_and_epochs_make_a_small_page() -> None:
    comparison = a_grid(*LARGE, seeds=5, epochs=400)
    best = best_cell(comparison)
    assert best is not None
    page = comparison_page(comparison, an_evidence(comparison, best.name))
    assert len(page.encode()) < 1_000_000


def test_a_small_grid_says_what_each_setting_does(show) -> None:
    page = show(a_grid("batch=256,512", "schedule=constant,one-cycle"))
    assert page.errors() == []
    heading = page.value("document.querySelector('h1').innerText")
    assert heading.startswith("one-cycle · batch 256 is best: ")
    table = rows(page, 1)
    assert [row[:3] for row in table] == [
        ["Setting", "Instead of", "Pairs of cells"],
        ["schedule one-cycle", "constant", "2"],
        ["batch 512", "256", "2"],
    ]
    assert table[1][3].startswith("+1.0") and "more than noise" in table[1][3]
    assert table[2][3].startswith("−0.2")


def test_numbers_of_many_values_have_a_plot_of_their_own(show) -> None:
    comparison = a_grid("batch=8,16,32,64,128,256", "schedule=constant,one-cycle", "select=best")
    page = show(comparison)
    assert page.errors() == []
    assert "Accuracy against each setting" in text(page)
    assert "Validation accuracy against batch" in texts(page, "figcaption")
    assert count(page, ".point", 3) == 12


def test_an_ablation_names_what_is_left_out(show) -> None:
    comparison = a_grid(ablate="schedule,augmentation")
    page = show(comparison)
    assert page.errors() == []
    assert {row[0] for row in rows(page, 0)[1:]} == {
        "base", "without schedule", "without augmentation",
    }  # fmt: skip
    assert rows(page, 1)[1][:2] == ["without schedule", "one-cycle"]
    assert "Without schedule: the learning rate is constant." in text(page)
    assert comparison.to_json()["ablated"] == ("schedule", "augmentation")


def test_files_have_a_column_for_each_setting_that_differs() -> None:
    comparison = a_grid("batch=256,512", "deterministic=true,false", "epochs=20,30", seeds=1)
    fail(comparison.cells[1], 0, "no memory")
    table = comparison_table(comparison)
    assert [table.schema.field(name).type for name in ("batch", "deterministic")] == [
        pa.int64(), pa.bool_(),
    ]  # fmt: skip
    assert table["batch"].to_pylist() == [256] * 4 + [512] * 4
    assert table["epochs"].to_pylist() == [20, None, *[20] * 6]
    facts = comparison.to_json()
    assert [cell["epochs"] for cell in facts["cells"]] == [20, 20, 30, 30] * 2
    assert "ablated" not in facts and "batch" not in facts["config"]
    markdown = comparison_markdown(comparison)
    assert "\n| batch 256 · epochs 20 · deterministic |" in markdown
    assert "## What each setting does" in markdown


def test_a_search_shows_which_settings_matter(show) -> None:
    comparison = a_search(
        "learning_rate=1e-5..1e-2:log", axes=("schedule=constant,one-cycle",), trials=40
    )
    page = show(comparison, width=375)
    assert page.errors() == []
    assert page.value("document.documentElement.scrollWidth") <= 375
    assert "Which settings matter" in text(page)
    heads = page.value("[...document.querySelectorAll('table')].map(t => t.tHead.innerText)")
    table = rows(page, next(i for i, head in enumerate(heads) if head.startswith("Setting")))
    assert [row[0] for row in table] == ["Setting", "schedule", "learning rate"]
    assert int(table[1][1].removesuffix("%")) > 80
    assert count(page, ".js-line", 4) >= 40
    assert {"schedule", "learning rate", "accuracy"} <= set(texts(page, ".xtick"))


def test_the_text_of_a_search_has_no_pairs_that_chance_made() -> None:
    found = a_search("epochs=3..5", axes=("schedule=constant,one-cycle",), trials=6)
    assert "## What each setting does" not in comparison_markdown(found)


def test_a_search_of_which_nothing_can_be_said_says_so() -> None:
    ranges = ("learning_rate=1e-5..1e-2:log", "weight_decay=0..0.1")  # neither does anything
    page = comparison_page(a_search(*ranges, trials=12), None)
    assert "too few cells to tell which setting matters" in page
