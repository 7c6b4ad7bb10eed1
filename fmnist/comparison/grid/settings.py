"""The settings that a grid can vary: how their values are read, and how they stand in names."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_type_hints

from fmnist.errors import UserError, unknown
from fmnist.run_settings import Training

Setting = str | int | float | bool
Settings = Mapping[str, Setting]  # values by name
Axes = Mapping[str, tuple[Setting, ...]]  # the values of each setting that is an axis

MOST_EXPANDED = 10_000  # cells of a grid, and trials of a search
SEPARATOR = " · "  # between the parts of a cell's name
DEFAULTS = Training()
# They are in every cell's full name and in every comparison's files, whether they differ or not.
ALWAYS_SHOWN = ("architecture", "activation", "optimizer", "learning_rate")
SELF_EXPLANATORY = (*ALWAYS_SHOWN, "schedule", "precision")  # whose values need no name before them
NOT_AXES = {
    "seed": "--seeds N runs every cell with the seeds 0 to N - 1",
    "validation": "cells must be compared on the same images; --validation sets it for all",
    "workers": "all runs must have the same resources; --workers sets it for all",
    "ingest": "a comparison keeps its images in memory",
}
AXES = {name: kind for name, kind in get_type_hints(Training).items() if name not in NOT_AXES}
# The settings that a network can be trained without, and what is then done: at its default, each of
# them does nothing.
WITHOUT = {
    "schedule": "the learning rate is constant",
    "weight_decay": "weights do not decay",
    "label_smoothing": "the loss is the plain cross-entropy",
    "average_weights": "the last weights are evaluated",
    "augmentation": "images are as they are",
    "precision": "all is computed in float32",
    "select": "the weights of the last epoch are published",
}
KINDS: dict[type, str] = {int: "a whole number", float: "a number", bool: "true or false"}
BOOLS = {"true": True, "false": False}


def find_setting(name: str, known: Iterable[str], what: str) -> str:
    """Returns the setting of that name, which may have hyphens.

    Raises UserError with the nearest of the `known` names, and says of what they are the names.
    """
    found, known = name.strip().replace("-", "_"), list(known)
    if found in known:
        return found
    if found in NOT_AXES:
        raise UserError(f"{found} can't be {what}: {NOT_AXES[found]}")
    if found in AXES:  # of all axes, only WITHOUT's can be ablated
        raise UserError(
            f"{found} can't be {what}, since no network is trained without it: --axis {found}=… "
            f"compares its values; expected some of {', '.join(known)}"
        )
    raise UserError(unknown("setting", found, known, cutoff=0.5))


def read_value(name: str, text: str) -> Setting:
    """Returns the value of a setting that is given as text.

    Raises UserError for text of another type; which values are allowed `run_settings.check` says.
    """
    kind: Any = AXES[name]
    try:
        if kind is bool:
            return BOOLS[text.lower()]
        return kind(text) if kind in KINDS else text
    except (ValueError, KeyError) as error:
        raise UserError(f"{name} is {text!r}, expected {KINDS[kind]}") from error


def settings_of(training: Training, names: Iterable[str]) -> dict[str, Setting]:
    """Returns these settings of a run."""
    return {name: getattr(training, name) for name in names}


def shown_settings(cells: Iterable[Training]) -> list[str]:
    """Returns the names of the settings that are shown of each cell: those that differ, and a few.

    They are in the order of the fields of `Training`.
    """
    cells = list(cells)
    return [
        name
        for name in AXES
        if name in ALWAYS_SHOWN or len({getattr(cell, name) for cell in cells}) > 1
    ]


def cell_name(
    settings: Settings,
    ablated: Sequence[str] = (),
    *,
    unlabelled: Iterable[str] = SELF_EXPLANATORY,
) -> str:
    """Returns the full name of a cell; of ablated settings, it has those that the cell is without.

    `settings` are those of `shown_settings`.
    """
    parts = (
        value_text(name, value, ablated, unlabelled=unlabelled)
        for name, value in settings.items()
        if name not in ablated or value == getattr(DEFAULTS, name)
    )
    return SEPARATOR.join(parts)


def cell_labels(
    cells: Sequence[Settings],
    ablated: Sequence[str] = (),
    *,
    unlabelled: Iterable[str] = SELF_EXPLANATORY,
) -> list[str]:
    """Returns a short name for each cell of a grid: only what differs between them."""
    names = differing_settings(cells) or list(cells[0])
    chosen = [{name: cell[name] for name in names} for cell in cells]
    return [cell_name(each, ablated, unlabelled=unlabelled) or "base" for each in chosen]


def differing_settings(cells: Sequence[Settings]) -> list[str]:
    """Returns the names of the settings that are not the same in all cells."""
    return [name for name in cells[0] if len({cell[name] for cell in cells}) > 1]


def value_text(
    name: str,
    value: Setting,
    ablated: Iterable[str] = (),
    *,
    unlabelled: Iterable[str] = SELF_EXPLANATORY,
) -> str:
    """Returns a setting as it stands in names; of those in `unlabelled`, the value alone."""
    words = name.replace("_", " ")
    if name in ablated and value == getattr(DEFAULTS, name):
        return f"without {words}"
    if isinstance(value, bool):
        return words if value else f"not {words}"
    text = str(value) if name in ALWAYS_SHOWN else str(value).removesuffix(".0")
    return text if name in unlabelled else f"{words} {text}"
