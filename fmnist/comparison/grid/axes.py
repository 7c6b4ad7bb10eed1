"""Reads axes and names of settings from the text of flags."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

from fmnist.comparison.grid.settings import AXES, WITHOUT, Setting, find_setting, read_value
from fmnist.errors import UserError, together

Values = TypeVar("Values")


def read_axes(texts: Iterable[str]) -> tuple[dict[str, tuple[Setting, ...]], list[str]]:
    """Returns the values of axes such as `batch=256,1024`, and the mistakes found."""
    found: dict[str, tuple[Setting, ...]] = {}
    twice = "found {} as an axis twice, expected all its values in one"
    return found, read_named(texts, _read_axis, found, twice=twice)


def read_named(
    texts: Iterable[str],
    read: Callable[[str], tuple[str, Values]],
    found: dict[str, Values],
    *,
    twice: str,
) -> list[str]:
    """Adds to `found`, by name, what `read` makes of each text; returns the mistakes found.

    `twice` is the message for a name that is there already, with {} for the name.
    """
    problems: list[str] = []
    for text in texts:
        try:
            name, values = read(text)
            if name in found:
                raise UserError(twice.format(name))
            found[name] = values
        except UserError as error:
            problems += error.problems
    return problems


def _read_axis(text: str) -> tuple[str, tuple[Setting, ...]]:
    given, equals, listed = text.partition("=")
    if not equals:
        raise UserError(f"axis is {text!r}, expected NAME=VALUE,VALUE such as batch=256,1024")
    name = find_setting(given, AXES, "an axis")
    entries = [entry.strip() for entry in listed.split(",")]
    if not all(entries):
        raise UserError(f"{name} is {listed!r}, expected values with commas between them")
    values = tuple(together(*(partial(read_value, name, entry) for entry in entries)))
    if twice := {value: None for value in values if values.count(value) > 1}:
        shown = ", ".join(map(str, twice))
        raise UserError(f"{name} is {listed!r}, which has {shown} twice, expected each value once")
    return name, values


def read_ablated(text: str, problems: list[str]) -> list[str]:
    """Returns the settings to ablate, each once; adds the mistakes found to `problems`."""
    found: list[str] = []
    for name in text.split(",") if text else ():
        try:
            found.append(find_setting(name, WITHOUT, "ablated"))
        except UserError as error:
            problems += error.problems
    twice = {name for name in found if found.count(name) > 1}
    problems += [f"ablate is {text!r}, which has {name} twice" for name in sorted(twice)]
    return list(dict.fromkeys(found))
