from pathlib import Path

import numpy as np
import pytest

from fmnist.data.dataset import Dataset
from fmnist.errors import UserError
from fmnist.tasks import COMPETITION, FASHION, LabelRule, find_task

SHAPES = """
name = "shapes"
classes = ["circle", "square", "star"]
height = 16
width = 20
channels = 3
"""


def _write(folder: Path, text: str) -> str:
    path = folder / "task.toml"
    path.write_text(text)
    return str(path)


def test_the_built_in_tasks_are_found_by_name() -> None:
    assert find_task("fashion") is FASHION
    assert find_task("competition") is COMPETITION
    assert FASHION.pixels == 784


def test_a_file_describes_a_task(tmp_path: Path) -> None:
    task = find_task(_write(tmp_path, SHAPES))
    assert (task.name, task.classes) == ("shapes", ("circle", "square", "star"))
    assert (task.shape, task.pixels) == ((16, 20, 3), 960)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"'mnist': expected one of fashion, competition, or a"):
        find_task("mnist")


def test_a_file_that_is_missing_or_not_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nope\.toml.*No such file"):
        find_task(str(tmp_path / "nope.toml"))
    with pytest.raises(UserError, match=r"task\.toml.*line 1"):
        find_task(_write(tmp_path, "name: shapes"))


def test_all_mistakes_are_in_one_message(tmp_path: Path) -> None:
    text = 'name = "my task"\nclasses = ["a", "a"]\nheight = 0\nwidth = "20"\ncolours = 3'
    with pytest.raises(UserError) as caught:
        find_task(_write(tmp_path, text))
    message = str(caught.value)
    assert "6 mistakes" in message
    for mistake in (
        "unknown field 'colours', expected name, classes, height, width, channels",
        "missing field 'channels'",
        "name is 'my task', expected up to 64 letters, digits and hyphens",
        "found 2 classes, expected 2 to 1000 different names",
        "height is 0, expected 1 to 1024",
        "width is '20', expected a whole number",
    ):
        assert mistake in message


@pytest.mark.parametrize(
    ("old", "new", "mistake"),
    [
        ('"shapes"', '"fashion"', "not fashion or competition"),
        ('"shapes"', '""', "name is ''"),
        ('"shapes"', '"../up"', "name is '../up'"),
        ("16", "true", "height is True, expected a whole number"),
        ("16", "16.0", "height is 16.0, expected a whole number"),
        ("= 3", "= 17", "channels is 17, expected 1 to 16"),
        ('"star"', "3", "classes must be non-empty strings"),
        ('"star"', '""', "classes must be non-empty strings"),
        ('["circle", "square", "star"]', '["circle"]', "found 1 classes"),
    ],
)
def test_one_mistake_is_one_line(tmp_path: Path, old: str, new: str, mistake: str) -> None:
    with pytest.raises(UserError) as caught:
        find_task(_write(tmp_path, SHAPES.replace(old, new)))
    assert mistake in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_rule_counts_the_thresholds_below_the_sum() -> None:
    rule = LabelRule(thresholds=((-1, 10, 20), (5, float("inf"), float("inf"))))
    sums, originals = [0, 10, 11, 255, 5, 6], [0, 0, 0, 0, 1, 1]
    images = np.array(sums, np.uint8).reshape(-1, 1, 1, 1)
    assert rule.apply(images, np.array(originals)).tolist() == [1, 1, 2, 3, 0, 1]


def test_the_competition_has_14000_of_each_label(competition: Dataset) -> None:
    assert competition.train is not None and competition.test is not None
    labels = [part.labels for part in (competition.train, competition.test)]
    assert np.bincount(np.concatenate(labels)).tolist() == [14_000] * 5


def test_the_competition_takes_its_rows_from_both_files(
    fashion: Dataset, competition: Dataset
) -> None:
    ours, theirs = competition, fashion
    assert ours.train is not None and ours.test is not None
    assert theirs.train is not None and theirs.test is not None
    assert np.array_equal(ours.test.images, theirs.train.images[:10_000])
    assert np.array_equal(ours.train.images[:50_000], theirs.train.images[10_000:])
    assert np.array_equal(ours.train.images[50_000:], theirs.test.images)
    assert np.array_equal(ours.test.ids, np.arange(10_000))
    assert np.array_equal(ours.train.ids, np.arange(60_000))
