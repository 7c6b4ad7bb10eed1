"""What is told of image files before they are decoded."""

from pathlib import Path

import pytest

from fmnist.data.locations import locate
from fmnist.ingest.plan import find_images
from fmnist.tasks import Task
from jobs.support.images import warn_of_ignored, warn_of_other_classes
from tests.ingest.pictures import write_pictures

TASK = Task(name="pets", classes=("cat", "dog"), shape=(6, 5, 1))


def test_images_that_are_neither_train_nor_test_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_pictures(tmp_path, ["train/a/1.png", "test/a/1.png"])
    for expected in (0, 1):
        source = find_images(locate(str(tmp_path)))
        assert source
        warn_of_ignored("photos", source)
        assert len(caplog.messages) == expected
        write_pictures(tmp_path, ["val/a/1.png", "val/b/1.png", "odd.png"])
    assert caplog.messages == ["photos: ignores odd.png, val, which is neither train nor test"]


@pytest.mark.parametrize(
    ("folders", "warned"),
    [
        (("bee/", "ant/"), "its classes (ant, bee) are none of the model's (cat, dog)"),
        (("bee/", "cat/"), ""),
        (("0/", "1/"), ""),
        (("",), ""),
    ],
)
def test_images_to_score_whose_classes_are_others_are_told(
    folders: tuple[str, ...], warned: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_pictures(tmp_path, [f"test/{folder}1.png" for folder in folders])
    source = find_images(locate(str(tmp_path)))
    assert source
    warn_of_other_classes(str(tmp_path), source, TASK)
    assert warned in caplog.text and bool(warned) == bool(caplog.records)
