"""The classes of a source follow from its labels, and labels are found among the classes."""

from pathlib import Path

import pytest

from fmnist.data.locations import locate
from fmnist.errors import UserError
from fmnist.ingest.classes import find_classes, label_numbers
from fmnist.ingest.plan import find_images
from fmnist.ingest.source import ImagePart, ImageSource, Labels
from tests.ingest.pictures import write_pictures


def part(labels: Labels) -> ImagePart:
    names = [f"{row}.png" for row in range(len(labels))]
    return ImagePart(size=len(labels), names=names, labels=labels, paths=names, filesystem=None)


def classes(labels: Labels) -> tuple[str, ...]:
    source = ImageSource(
        uri="photos", parts={"train": part(labels)}, stamp="", stamp_now=lambda: ""
    )
    return find_classes(source)


def test_numbers_that_number_no_classes_name_the_image() -> None:
    with pytest.raises(UserError, match=r"^1\.png: its label is 20240131, expected 0 to 999$"):
        classes([3, 20_240_131, 5])


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["dog", "cat", "dog"], ("cat", "dog")),
        (["10", "9", "2"], ("2", "9", "10")),
        (["2019", "2020"], ("2019", "2020")),
        (["02", "01"], ("01", "02")),
        (["1", "one"], ("1", "one")),
        ([3, 1], ("0", "1", "2", "3")),
    ],
)
def test_names_are_classes_and_numbers_count_from_0(
    labels: Labels, expected: tuple[str, ...]
) -> None:
    assert classes(labels) == expected


@pytest.mark.parametrize(
    ("labels", "names", "expected"),
    [
        (["b", "a"], ("a", "b"), [1, 0]),
        (["1", "0"], ("shirt", "coat"), [1, 0]),
        ([1, 0], ("shirt", "coat"), [1, 0]),
        ([3, 1], ("0", "1", "2", "3"), [3, 1]),
        (["3", "1"], ("1", "2", "3"), [2, 0]),
        ([2, 0], ("0", "1", "10", "2"), [2, 0]),  # Hugging Face's numbers are positions
    ],
)
def test_labels_are_names_or_else_positions(
    labels: Labels, names: tuple[str, ...], expected: list[int]
) -> None:
    numbers = label_numbers(part(labels), names)
    assert numbers is not None and numbers.tolist() == expected


def test_a_number_is_no_position_among_classes_that_are_numbers(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["train/1/a.png", "train/3/b.png", "test/0/c.png"])
    source = find_images(locate(str(tmp_path)))
    assert source is not None
    with pytest.raises(UserError, match=r"0/c\.png: its label is '0', expected a class: 1, 3"):
        label_numbers(source.parts["test"], find_classes(source))
