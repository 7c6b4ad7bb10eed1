"""Renders pages: each is one HTML file that needs nothing else, and its parts are defined here."""

from collections.abc import Mapping
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

Fact = str | int | float | bool | None
Facts = Mapping[str, object]  # names of settings, versions and the like, and their values
FactList = list[tuple[str, str]]  # the same as text


class Cell(NamedTuple):
    """A cell of a table: its text and a second line in small print, such as an interval."""

    value: str
    small: str = ""


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


def render(template: str, **context: object) -> str:
    """Returns the page that a template makes of its context.

    Every text is escaped. Plotly's script is part of the page, so that it can be read offline.
    """
    environment = Environment(
        loader=PackageLoader("fmnist.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(template)
    return page.render(plotly_script=Markup(get_plotlyjs()), **context)


def fact_list(facts: Facts) -> FactList:
    """Returns names and values as text: names without underscores, whole numbers with commas."""
    return [(name.replace("_", " "), _text(value)) for name, value in facts.items()]


def _text(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
