"""Tasks of classification: the classes, the shape of an image, and the meaning of a label.

A task is data. `fashion` and `competition` are built in; any other comes from a TOML file:

    name = "shapes"
    classes = ["circle", "square", "triangle"]
    height = 16
    width = 20
    channels = 3
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fmnist.errors import UserError, unknown

if TYPE_CHECKING:
    import numpy as np

Augmentation = Literal["none", "flip", "shift-flip", "shift-flip-erase", "lossless-shift-flip"]

TaskName = Literal["fashion", "competition"]

SIDES = ("height", "width", "channels")  # of an image

NEVER = float("inf")  # a threshold that no sum of pixels exceeds
ALWAYS = -1.0  # a threshold that every sum of pixels exceeds

FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Rows `start` to `stop` (None: the end) of an official Fashion-MNIST part, train or test."""

    part: str
    start: int
    stop: int | None


@dataclass(frozen=True, kw_only=True)
class LabelRule:
    """A label made from an image: how many of its class's thresholds its sum of pixels exceeds.

    `thresholds[c]` belongs to the original class c; the label lies in 0..len(thresholds[c]).
    """

    thresholds: tuple[tuple[float, ...], ...]

    def apply(self, images: "np.ndarray", originals: "np.ndarray") -> "np.ndarray":
        """(n,) int64 labels of (n, height, width, channels) uint8 images and original classes."""
        import numpy as np  # here: a command's help and its flags need no arrays

        sums = images.sum(axis=(1, 2, 3), dtype=np.int64)
        passed = sums[:, None] > np.array(self.thresholds)[originals]
        labels: np.ndarray = passed.sum(axis=1, dtype=np.int64)
        return labels


@dataclass(frozen=True, kw_only=True)
class Task:
    """`shape` is (height, width, channels) of a uint8 image; labels are 0..len(classes)-1.

    `augmentation` (see `data.augmentation`) is one that never changes an image's label: none where
    nothing is known of the images. `label_rule`, `train_rows` and `test_rows` say how the task is
    made from the official Fashion-MNIST files; a task without rows can't be read from IDX files.
    """

    name: str
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    label_rule: LabelRule | None = None
    augmentation: Augmentation = "none"
    train_rows: tuple[Rows, ...] = ()
    test_rows: tuple[Rows, ...] = ()

    @property
    def details(self) -> dict[str, Any]:
        """The fields that manifests and pages show."""
        return {"name": self.name, "classes": list(self.classes), "shape": list(self.shape)}

    @property
    def pixels(self) -> int:
        """Bytes of one image."""
        height, width, channels = self.shape
        return height * width * channels


FASHION = Task(
    name="fashion",
    classes=FASHION_CLASSES,
    shape=(28, 28, 1),
    augmentation="shift-flip",
    train_rows=(Rows(part="train", start=0, stop=None),),
    test_rows=(Rows(part="test", start=0, stop=None),),
)

# The thresholds of "Fashion-MNIST with a twist" (ECE657A, winter 2020) were inferred and published
# by a participant: github.com/Tiankai-Jiang/ECE657A-A3. Over all 70,000 images they give exactly
# 14,000 of each label. The competition's test images are the official training rows 0..9999, and
# its training images are all the others.
COMPETITION = Task(
    name="competition",
    classes=("0", "1", "2", "3", "4"),
    shape=(28, 28, 1),
    augmentation="flip",  # a shift can change the sum of pixels, and so the label
    label_rule=LabelRule(
        thresholds=(
            (ALWAYS, 31830, 51560, 73145),
            (62862, 89448, 108197, 129371),
            (36469, 62608, 82316, 103913),
            (34506, 60652, 80359, 102087),
            (26440, 52623, 72290, 93898),
            (ALWAYS, 20089, 39782, 61537),
            (34516, 60626, 80351, 101959),
            (36469, 62596, 81891, NEVER),
            (ALWAYS, ALWAYS, ALWAYS, 18638),
            (ALWAYS, 34274, 53970, 75570),
        )
    ),
    train_rows=(
        Rows(part="train", start=10_000, stop=None),
        Rows(part="test", start=0, stop=None),
    ),
    test_rows=(Rows(part="train", start=0, stop=10_000),),
)

TASKS = {task.name: task for task in (FASHION, COMPETITION)}

FIELDS = {"name": str, "classes": list, "height": int, "width": int, "channels": int}
KINDS = {str: "a string", list: "a list of strings", int: "a whole number"}
MOST_CLASSES = 1000
MOST_SIDE = 1024  # pixels
MOST = {"height": MOST_SIDE, "width": MOST_SIDE, "channels": 16}


def find_task(name_or_file: str) -> Task:
    """Returns the built-in task of that name, or the one that a `.toml` file describes.

    Raises UserError naming every mistake in the file, or the known names.
    """
    if name_or_file in TASKS:
        return TASKS[name_or_file]
    if not name_or_file.endswith(".toml"):
        raise UserError(unknown("task", name_or_file, TASKS, more=", or a .toml file"))
    if not name_or_file.isprintable():
        raise UserError(f"task file {name_or_file!r} has a character that can't be printed")
    where = f"task file {name_or_file}"
    try:
        return to_task(tomllib.loads(Path(name_or_file).read_text(encoding="utf-8")), where)
    except RecursionError as error:
        raise UserError(f"{where}: is nested too deeply") from error
    except UserError:
        raise
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, no TOML, a number without end
        raise UserError(f"{where}: {error}") from error


def to_task(fields: dict[str, Any], where: str) -> Task:
    """Makes the task of these FIELDS; raises UserError naming every mistake in them."""
    UserError.raise_if([f"{where}: {problem}" for problem in _problems(fields)])
    return Task(
        name=fields["name"],
        classes=tuple(fields["classes"]),
        shape=(fields["height"], fields["width"], fields["channels"]),
    )


def task_from_details(details: Mapping[str, Any], where: str) -> Task:
    """Makes the task that has these `details`; raises UserError naming every mistake in them."""
    shape = details["shape"]
    if not isinstance(shape, list) or len(shape) != len(SIDES):
        raise UserError(f"{where}: shape is {shape!r}, expected {', '.join(SIDES)}")
    sides = dict(zip(SIDES, shape, strict=True))
    return to_task({"name": details["name"], "classes": details["classes"], **sides}, where)


def _problems(fields: dict[str, Any]) -> list[str]:
    problems = [
        f"unknown field {name!r}, expected {', '.join(FIELDS)}"
        for name in sorted(fields.keys() - FIELDS.keys())
    ]
    for name, kind in FIELDS.items():
        if name not in fields:
            problems.append(f"missing field {name!r}")
        elif type(fields[name]) is not kind:
            problems.append(f"{name} is {fields[name]!r}, expected {KINDS[kind]}")
        elif problem := _value_problem(name, fields[name]):
            problems.append(problem)
    return problems


def _value_problem(name: str, value: Any) -> str | None:
    if name == "name":
        if re.fullmatch("[A-Za-z0-9][A-Za-z0-9-]{0,63}", value) and value not in TASKS:
            return None
        expected = f"up to 64 letters, digits and hyphens, and not {' or '.join(TASKS)}"
        return f"name is {value!r}, expected {expected}"
    if name == "classes":
        if not all(isinstance(entry, str) and entry.isprintable() and entry for entry in value):
            return "classes must be non-empty strings that can be printed"
        if not 2 <= len(set(value)) == len(value) <= MOST_CLASSES:
            return f"found {len(value)} classes, expected 2 to {MOST_CLASSES} different names"
        return None
    most = MOST[name]
    return None if 1 <= value <= most else f"{name} is {value}, expected 1 to {most}"
