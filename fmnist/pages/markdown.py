"""Writes Markdown in which texts that users chose are shown unchanged."""

import re

from fmnist.pages.html import Cell, FactList, Table


def escaped(text: str) -> str:
    """Returns text on one line that Markdown shows unchanged: without markup, without HTML."""
    one_line = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*_\[\]|#~$])", r"\\\1", one_line)


def table(found: Table) -> str:
    """Returns a table without its caption."""
    rows = [
        "| " + " | ".join([escaped(name), *map(_cell, cells)]) + " |" for name, cells in found.rows
    ]
    header = "| " + " | ".join(map(escaped, found.headers)) + " |"
    return "\n".join([header, "|---" + "|---:" * (len(found.headers) - 1) + "|", *rows])


def bullets(pairs: FactList) -> str:
    """Returns a list of names and values."""
    return "\n".join(f"- {escaped(name)}: {escaped(value)}" for name, value in pairs)


def code_block(text: str, language: str = "") -> str:
    """Returns a block of code, whose fence is longer than any in the text."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"


def _cell(cell: Cell) -> str:
    small = f"<br><sub>{escaped(cell.small)}</sub>" if cell.small else ""
    return escaped(cell.value) + small
