"""What holds for every page: its size, its speed, on a phone, in the dark, on paper, read aloud."""

import base64
import gzip
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from plotly.offline import get_plotlyjs_version

from fmnist import pages
from fmnist.comparison.pages.page import comparison_page
from fmnist.comparison.statistics.ranking import best_cell
from fmnist.retraining.page import retraining_page
from fmnist.runs.page import run_page
from tests.support.pages.comparisons import a_comparison, an_evidence
from tests.support.pages.elements import count, text
from tests.support.pages.grids import a_grid
from tests.support.pages.retrainings import a_summary
from tests.support.pages.runs import a_run, history
from tests.support.servers.browser import Browser

AXE = Path(__file__).parents[1] / "support" / "axe" / "axe-4.14.1.min.js.gz"
MOST_BYTES = 1_500_000
PAGES = ("run", "comparison", "grid", "retraining")
AXES = ("batch=8,16,32,64,128,256", "schedule=constant,one-cycle", "weight_decay=0,0.1,0.2")
Opener = Callable[..., Browser]


@cache
def html(name: str) -> str:
    """Returns a usual page of each kind."""
    if name == "run":
        return run_page(a_run())
    if name == "retraining":
        return retraining_page(a_summary())
    comparison = a_comparison() if name == "comparison" else a_grid(*AXES)
    best = best_cell(comparison)
    return comparison_page(comparison, an_evidence(comparison, best.name) if best else None)


def violations(page: Browser) -> list[tuple[str, list[str]]]:
    """Returns the rules of axe-core that the open page breaks, and the elements that do it."""
    page.driver.execute_script(gzip.decompress(AXE.read_bytes()).decode())
    found = page.driver.execute_async_script(
        "const done = arguments[0]; axe.run().then(found => done(found.violations));"
    )
    return [(each["id"], [node["html"] for node in each["nodes"]]) for each in found]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("name", PAGES)
def test_an_audit_finds_nothing(open_html: Opener, name: str, width: int, scheme: str) -> None:
    page = open_html(html(name), width=width, scheme=scheme)
    assert page.value("document.documentElement.scrollWidth") <= width
    assert violations(page) == []


def test_the_audit_finds_mistakes(open_html: Opener) -> None:
    page = (
        html("comparison").replace(' lang="en"', "").replace("--muted: #5d6778", "--muted: #c5c7c8")
    )
    found = [name for name, _ in violations(open_html(page))]
    assert {"html-has-lang", "color-contrast"} <= set(found)


@pytest.mark.parametrize("name", PAGES)
def test_something_is_to_be_seen_within_a_second(open_html: Opener, name: str) -> None:
    """The fastest of several times counts, since tests share the machine with others."""
    paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
    times = []
    while (len(times) < 5 and min(times, default=1e9) >= 1000) or len(times) < 2:
        times.append(open_html(html(name)).value(paint))
    assert min(times) < 1000, times


@pytest.mark.parametrize("name", PAGES)
def test_on_paper_everything_is_light_and_fits(open_html: Opener, name: str) -> None:
    page = open_html(html(name), scheme="dark")
    widths = "[...document.querySelectorAll('.plot .main-svg')].map(svg => svg.clientWidth)"
    before = page.value(widths)
    page.value("(addEventListener('beforeprint', () => window.asked = true), 0)")
    pdf = base64.b64decode(page.command("Page.printToPDF")["data"])
    assert pdf.startswith(b"%PDF") and page.value("window.asked")
    page.value("dispatchEvent(new Event('beforeprint'))")
    assert max(page.value(widths)) <= 680
    fills = "[...document.querySelectorAll('.plot .xtick text')].map(t => getComputedStyle(t).fill)"
    light = "getComputedStyle(document.documentElement).getPropertyValue('--panel')"
    assert set(page.value(fills)) == {"rgb(27, 34, 48)"} and "#fff" in page.value(light)
    page.value("dispatchEvent(new Event('afterprint'))")
    assert page.value(widths) == before
    assert page.errors() == []


def test_pages_are_small_also_where_there_is_much_to_show() -> None:
    """A comparison of 200 cells with large photos, and a run of 400 classes."""
    comparison = a_comparison(epochs=200)
    cells = [
        replace(cell, name=f"{cell.name} {copy}") for copy in range(25) for cell in comparison.cells
    ]
    comparison = replace(comparison, cells=cells)
    best = best_cell(comparison)
    assert best
    evidence = an_evidence(comparison, best.name)
    photos = np.random.default_rng(0).integers(0, 256, (len(evidence.labels), 160, 160, 3))
    evidence = replace(evidence, images=photos.astype(np.uint8))
    assert len(comparison_page(comparison, evidence).encode()) < MOST_BYTES
    classes = tuple(f"class {number}" for number in range(400))
    run = a_run(classes=classes, history=history(400))
    assert len(run_page(run).encode()) < MOST_BYTES


def test_an_old_browser_shows_all_but_the_plots(browser: Browser, tmp_path: Path) -> None:
    script = "<script>delete window.DecompressionStream</script>"
    file = tmp_path / "report.html"
    file.write_text(html("run").replace("<main>", f"{script}<main>"), encoding="utf-8")
    browser.open(file)
    assert text(browser, ".plot") == "This browser is too old for plots."
    assert count(browser, "table") == 2 and browser.errors() == []


def test_the_script_is_of_the_version_that_makes_the_figures() -> None:
    (script,) = (Path(pages.__path__[0]) / "plotly").glob("*.js.gz")
    head = gzip.decompress(script.read_bytes())[:200].decode()
    assert f"(cartesian - minified) v{get_plotlyjs_version()}\n" in head
    assert get_plotlyjs_version() in script.name
