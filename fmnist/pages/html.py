"""Renders pages: each is one HTML file that needs nothing else, and its parts are defined here."""

import base64
import gzip
import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

Fact = str | int | float | bool | None
Facts = Mapping[str, object]  # names of settings, versions and the like, and their values
FactList = list[tuple[str, str]]  # the same as text


class Cell(NamedTuple):
    """A cell of a table: its text and a second line in small print, such as an interval."""

    value: str
    small: str = ""


PAGE = "report.html"  # the file of a page in the folder of a result
NO_VALUE = Cell("–")


class Table(NamedTuple):
    """A table; `headers[0]` is the title of the rows' names, the others those of the cells."""

    caption: str
    headers: list[str]
    rows: list[tuple[str, list[Cell]]]


class Card(NamedTuple):
    """A number at the top of a page."""

    name: str
    value: str
    note: str


def decimals_of_seconds(seconds: float) -> int:
    """Returns how many decimals to show of a time that is about so long."""
    return 2 if seconds < 10 else 1 if seconds < 100 else 0


def render(template: str, **context: object) -> str:
    """Returns the page that a template makes of its context, in which every text is escaped."""
    environment = Environment(
        loader=PackageLoader("fmnist.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["packed"] = packed
    page = environment.get_template(template)
    return page.render(plotly_script=_plotly_script(), **context)


@cache
def _plotly_script() -> str:
    """Returns Plotly's script as base64 of its gzip: a page has it, so that it is read offline.

    It is the bundle of plots with x and y, a third of the one that Plotly's package has.
    """
    folder = files("fmnist.pages").joinpath("plotly")
    (script,) = (file for file in folder.iterdir() if file.name.endswith(".js.gz"))
    return base64.b64encode(script.read_bytes()).decode()


def packed(figure: object) -> str:
    """Returns JSON as base64 of its gzip, which page.js unpacks."""
    text = json.dumps(figure, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def fact_list(facts: Facts) -> FactList:
    """Returns names and values as text: names without underscores, whole numbers with commas."""
    return [(name.replace("_", " "), _text(value)) for name, value in facts.items()]


def _text(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
