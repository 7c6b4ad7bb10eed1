"""Finds the classes of a source, and turns its labels into their numbers."""

import os.path
import re
from pathlib import PurePosixPath

import numpy as np

from fmnist.errors import UserError
from fmnist.ingest.source import ImagePart, ImageSource
from fmnist.storage.uri import FolderUri, parse_uri
from fmnist.tasks import MOST_CLASSES, TASKS


def find_classes(source: ImageSource) -> tuple[str, ...]:
    """The classes of the training part, or of the only part; UserError where it has no labels.

    These are the source's own names of its numbers; or else, of numbers, those from 0 to the
    largest, and of names the different ones, sorted: by code points, but 2 before 10 where all are
    digits.
    """
    if source.classes is not None:
        return source.classes
    part = source.parts.get("train") or source.parts["test"]
    if part.labels is None:
        raise UserError(f"{source.uri}: found no labels to learn the classes from, expected some")
    labels = set(part.labels)
    if numbers := [label for label in labels if isinstance(label, int)]:
        if (largest := max(numbers)) >= MOST_CLASSES:
            name = part.name(part.labels.index(largest))
            raise UserError(f"{name}: its label is {largest}, expected 0 to {MOST_CLASSES - 1}")
        return tuple(map(str, range(largest + 1)))
    names = sorted(map(str, labels))
    return tuple(sorted(names, key=int) if all(map(str.isdecimal, names)) else names)


def label_numbers(part: ImagePart, classes: tuple[str, ...]) -> np.ndarray | None:
    """(n,) int64: each image's position in `classes`; see `class_numbers`.

    None where the part has no labels. UserError names the first image whose label is no class.
    """
    if part.labels is None:
        return None
    known = class_numbers(classes)
    numbers = np.fromiter((known.get(label, -1) for label in part.labels), np.int64, part.size)
    if (numbers < 0).any():
        row = int((numbers < 0).argmax())
        raise UserError(
            f"{part.name(row)}: its label is {part.labels[row]!r}, expected a class: "
            f"{', '.join(classes[:10])}{', …' if len(classes) > 10 else ''}"
        )
    return numbers


def class_numbers(classes: tuple[str, ...]) -> dict[str | int | None, int]:
    """The positions of the classes by what labels can call them.

    An integer is a position, and text is a name; or, where no name is a number, a position as text.
    """
    known: dict[str | int | None, int] = {name: number for number, name in enumerate(classes)}
    known |= {number: number for number in range(len(classes))}
    if not any(map(str.isdecimal, classes)):
        known |= {str(number): number for number in range(len(classes))}
    return known


def name_for(uri: str) -> str:
    """A task's name made from the last part of a path or URI; of a folder, from its whole path."""
    place = parse_uri(uri)
    path = os.path.normpath(place.path) if isinstance(place, FolderUri) else uri
    name = re.sub("[^A-Za-z0-9]+", "-", PurePosixPath(path).name).strip("-")[:64] or "images"
    return f"{name[:57]}-images" if name in TASKS else name
