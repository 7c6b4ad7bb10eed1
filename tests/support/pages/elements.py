"""Reads what an open page shows: its elements, their texts, and the rows of its tables."""

from typing import cast

from tests.support.servers.browser import Browser


def count(page: Browser, selector: str, plot: int | None = None) -> int:
    """Returns the number of elements that match, in the whole page or in one plot (from 0)."""
    root = "document" if plot is None else f"document.querySelectorAll('.plot')[{plot}]"
    return cast(int, page.value(f"{root}.querySelectorAll({selector!r}).length"))


def text(page: Browser, selector: str = "body") -> str:
    """Returns the text of the first element that matches, with plain spaces."""
    found = cast(str, page.value(f"document.querySelector({selector!r}).innerText"))
    return found.replace("\xa0", " ")


def texts(page: Browser, selector: str) -> list[str]:
    """Returns the text of each element that matches."""
    found = page.value(f"[...document.querySelectorAll({selector!r})].map(e => e.textContent)")
    return cast(list[str], found)


def rows(page: Browser, table: int) -> list[list[str]]:
    """Returns the text of a table's cells, with the small print."""
    cells = "[...r.cells].map(c => c.textContent)"
    found = page.value(f"[...document.querySelectorAll('table')[{table}].rows].map(r => {cells})")
    return [[cell.replace("\xa0", " ") for cell in row] for row in found]
