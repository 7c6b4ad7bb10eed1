"""The page of a usual run, in a real browser."""

from html.parser import HTMLParser
from pathlib import Path

import pytest

from fmnist.runs.page import run_page
from tests.support.pages.elements import count, text
from tests.support.pages.runs import a_run


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 375])
def test_the_page_draws_everything_alone(show, width: int, scheme: str) -> None:
    page = show(a_run(), width=width, scheme=scheme)
    assert page.errors() == []
    assert [Path(url).name for url in page.requests()] == ["report.html"]
    assert count(page, ".plot") == count(page, ".plot.js-plotly-plot") == 3
    for curves in (0, 1):
        assert count(page, ".scatterlayer .trace", curves) == 2
        assert count(page, ".scatterlayer .point", curves) == 2 * 8
        assert count(page, ".shapelayer path", curves) == 1  # the best epoch
    assert count(page, ".heatmaplayer image", 2) == 1
    assert count(page, ".heatmap-label text", 2) == 10 * 10


@pytest.mark.parametrize("width", [1280, 375, 320])
def test_the_page_is_no_wider_than_the_screen(show, width: int) -> None:
    page = show(a_run(classes=tuple(f"{'Long' * 12} {c}" for c in range(10))), width=width)
    assert page.value("document.documentElement.scrollWidth") <= width
    plots = page.value(
        "[...document.querySelectorAll('.plot svg.main-svg')].map(s => s.clientWidth)"
    )
    assert plots and all(200 < plot <= width for plot in plots)


def test_the_plots_follow_the_colour_scheme(show) -> None:
    colour = "getComputedStyle(document.querySelector('.plot .xtick text')).fill"
    light, dark = (show(a_run(), scheme=scheme).value(colour) for scheme in ("light", "dark"))
    assert light != dark


def test_the_head_says_the_conclusion(show) -> None:
    run = a_run()
    confusion = [[0] * 10 for _ in range(10)]
    confusion[6][0] = 30
    test = run.evaluations["test"]
    test |= {"accuracy": 0.9236, "examples": 10_000, "confusion": confusion}
    test["intervals"]["accuracy"] = [0.9182, 0.9287]
    test["per_class"][6]["support"] = 60
    page = show(run)
    assert page.value("document.querySelector('h1').innerText") == (
        "92.36% of 10,000 test images right"
    )
    lead = page.value("document.querySelector('.lead').innerText").replace("\xa0", " ")
    assert "91.82% – 92.87%" in lead
    assert "Shirt taken for T-shirt/top, 30 of 60" in lead


def test_the_tables_hold_the_scores_and_how_it_was_made(show) -> None:
    run = a_run()
    page = show(run)
    rows = page.value(
        "[...document.querySelectorAll('tr')].map(r => [...r.cells].map(c => c.firstChild.data))"
    )
    test = run.evaluations["test"]
    train = run.evaluations["train"]
    assert ["Score", "Training", "Test"] in rows
    assert ["Accuracy", f"{train['accuracy']:.2%}", f"{test['accuracy']:.2%}"] in rows
    bag = test["per_class"][8]
    shares = [f"{bag[name]:.2%}" for name in ("precision", "recall", "f1")]
    assert ["Bag", "60", *shares, f"{bag['roc_auc']:.4f}"] in rows
    shown = text(page)
    for fact in ("9f3c1a77b02e", run.command, "6,484,330", "12.3 s", "98.8 s", "1.2 s"):
        assert fact in shown, fact
    for fact in ("learning rate", "0.001", "c0ffee" * 10, "a folder", "a processor", "3.15.1"):
        assert fact in shown, fact


def test_the_same_run_gives_the_same_page() -> None:
    assert run_page(a_run()) == run_page(a_run())


def test_nothing_in_the_page_can_be_fetched() -> None:
    found = []

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.extend(value for name, value in attrs if name in ("src", "href", "action"))

    page = run_page(a_run())
    Links().feed(page)
    assert found == ["data:,"]
    assert "default-src 'none'" in page
