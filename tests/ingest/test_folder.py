"""Finds the images of a folder, with their part and class, and reports mistakes in the folder."""

import os
from pathlib import Path
from typing import Any

import pytest
from pyarrow import fs

from fmnist.data.formats.parquet import PARTS
from fmnist.data.locations import Location, locate
from fmnist.errors import UserError
from fmnist.ingest.folder import find_image_files
from fmnist.ingest.plan import find_images
from fmnist.ingest.source import ImageSource
from tests.ingest.pictures import write_pictures


def find(folder: Path) -> ImageSource:
    found = find_image_files(locate(str(folder)))
    assert found is not None
    return found


def test_folders_of_a_part_are_its_classes(tmp_path: Path) -> None:
    write_pictures(
        tmp_path,
        ["train/dog/b.PNG", "train/cat/deep/a.jpg", "train/cat/z.webp", "test/dog/1.gif"],
    )
    (tmp_path / "train" / "cat" / "notes.txt").write_text("no image")
    (tmp_path / "train" / ".hidden").mkdir()
    write_pictures(tmp_path, ["train/.hidden/a.png", "train/cat/.b.png"])
    parts = find(tmp_path).parts
    assert parts["train"].names == ["cat/deep/a.jpg", "dog/b.PNG", "cat/z.webp"]
    assert parts["train"].labels == ["cat", "dog", "cat"]
    assert parts["test"].names == ["dog/1.gif"] and parts["test"].labels == ["dog"]


def test_classes_in_folders_alternate_in_training_images_alone(tmp_path: Path) -> None:
    counts = {"ant": 2, "ant-lion": 4, "bee": 1}
    for part in ("train", "test"):
        names = [f"{part}/{name}/{i}.png" for name, count in counts.items() for i in range(count)]
        write_pictures(tmp_path, names)
    parts = find(tmp_path).parts
    assert parts["train"].names == [
        "ant-lion/0.png", "ant/0.png", "ant-lion/1.png", "bee/0.png",
        "ant-lion/2.png", "ant/1.png", "ant-lion/3.png",
    ]  # fmt: skip
    assert parts["train"].labels == [name.partition("/")[0] for name in parts["train"].names]
    assert parts["test"].names == sorted(parts["test"].names)


def test_one_folder_of_classes_is_all_training(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["cat/a.png", "dog/b.png"])
    (part,) = find(tmp_path).parts.items()
    assert part[0] == "train" and part[1].labels == ["cat", "dog"]


def test_images_to_score_are_in_the_order_of_their_paths(tmp_path: Path) -> None:
    write_pictures(tmp_path, [f"{name}/{number}.png" for name in "ab" for number in range(2)])
    part = find(tmp_path).to_score().parts["test"]
    assert part.names == ["a/0.png", "a/1.png", "b/0.png", "b/1.png"] and part.labels is None


def test_a_flat_folder_without_labels_is_all_test(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["b.png", "a.bmp"])
    parts = find(tmp_path).parts
    assert list(parts) == ["test"]
    assert parts["test"].names == ["a.bmp", "b.png"] and parts["test"].labels is None


@pytest.mark.parametrize("where", ["train/labels.csv", "train.csv"])
def test_labels_of_a_flat_folder_are_in_a_csv(tmp_path: Path, where: str) -> None:
    write_pictures(tmp_path, ["train/b.png", "train/a.png", "test/c.png"])
    (tmp_path / where).write_text("file,label\nb.png,dog\na.png,cat\n")
    parts = find(tmp_path).parts
    assert parts["train"].labels == ["cat", "dog"] and parts["test"].labels is None


def test_a_folder_without_images_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("")
    assert find_image_files(locate(str(tmp_path))) is None


def test_no_folder_is_listed_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pictures(tmp_path, [f"{part}/{name}/1.png" for part in PARTS for name in "ab"])
    listed: list[str] = []
    get_info = Location._get_info

    def count(location: Location, paths: Any) -> Any:
        if isinstance(paths, fs.FileSelector):
            listed.append(paths.base_dir)
        return get_info(location, paths)

    monkeypatch.setattr(Location, "_get_info", count)
    assert find_images(locate(str(tmp_path)))
    assert len(listed) == len(set(listed)) == 1 + len(PARTS) * 3


def test_the_stamp_follows_the_files(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["a.png"])
    before = find(tmp_path).stamp
    assert find(tmp_path).stamp == before
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "manifest.json").write_text("{}")
    assert find(tmp_path).stamp == before
    write_pictures(tmp_path, ["a.png"], size=(7, 5))
    assert find(tmp_path).stamp != before


def test_the_stamp_follows_the_labels_but_no_ignored_images(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["train/a.png", "val/b.png"])
    (tmp_path / "train.csv").write_text("file,label\na.png,cat\n")
    before = find(tmp_path).stamp
    write_pictures(tmp_path, ["val/c.png"])
    assert find(tmp_path).stamp == before
    (tmp_path / "train.csv").write_text("file,label\na.png,horse\n")
    assert find(tmp_path).stamp != before


def test_letters_that_only_sort_alike_are_different_names(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["Maße.png", "Masse.png"])
    assert find(tmp_path).parts["test"].size == 2


def test_a_name_that_is_not_utf_8_is_one_error(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["a/1.png"])
    Path(os.fsdecode(os.fsencode(tmp_path / "a") + b"/caf\xe9.png")).touch()
    with pytest.raises(UserError, match=r"caf.xe9.*is not in UTF-8"):
        find_images(locate(str(tmp_path)))


@pytest.mark.parametrize(
    ("names", "labels", "message"),
    [
        (["a/x.png", "a/X.png"], None, "a/X.png and a/x.png differ in case only"),
        (["a/x.png", "y.png"], None, "y.png lies beside folders of classes"),
        (["x\x07.png"], None, r"'x\\x07.png' has a character that can't be printed"),
        (["x.png"], "file,label\n", "has no label for x.png"),
        (["x.png"], "name,label\n", "its header is 'name,label', expected 'file,label'"),
        (["x.png"], "file,label\nz.png,1\n", "row 2 names 'z.png', which is no image file there"),
        (["x.png"], "file,label\nx.png,1\nx.png,1\n", "row 3 names 'x.png' for the second time"),
        (["x.png"], "file,label\nx.png\n", "row 2 has 1 fields, expected 2"),
        (["x.png"], 'file,label\n"x.png,' + "1" * 200_000, "labels.csv: is no CSV: field larger"),
    ],
)
def test_what_is_wrong_is_one_error(
    tmp_path: Path, names: list[str], labels: str | None, message: str
) -> None:
    write_pictures(tmp_path, names)
    if labels is not None:
        (tmp_path / "labels.csv").write_text(labels)
    with pytest.raises(UserError, match=message):
        find(tmp_path)


def test_names_may_have_spaces_of_any_kind_and_other_files_any_name(tmp_path: Path) -> None:
    names = ["a/10.00\u202fAM.png", "b/full\u3000width.png", "b/no\xa0break.png"]
    write_pictures(tmp_path, names)
    (tmp_path / "a" / "bell\x07.txt").write_text("no image")
    assert find(tmp_path).to_score().parts["test"].names == names


def test_labels_may_have_the_line_ends_of_any_system(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["b.png", "a.png"])
    (tmp_path / "labels.csv").write_bytes(b"file,label\rb.png,dog\ra.png,cat\r")
    assert find(tmp_path).parts["train"].labels == ["cat", "dog"]


def test_a_class_without_images_is_an_error(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["cat/a.png"])
    (tmp_path / "dog").mkdir()
    with pytest.raises(UserError, match="class 'dog' has no images"):
        find(tmp_path)


def test_files_of_a_raw_format_are_not_taken_for_a_folder_of_images(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["thumbnail.png", "more/thumbnail.png"])
    for name in ("train.parquet", "testX.csv", "train-images-idx3-ubyte"):
        (tmp_path / name).write_text("")
        assert find_images(locate(str(tmp_path))) is None
        (tmp_path / name).unlink()
    assert find_images(locate(str(tmp_path / "more")))


def test_a_csv_of_labels_beside_a_part_is_not_the_competitions(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["train/a.png"])
    (tmp_path / "train.csv").write_text("file,label\na.png,cat\n")
    found = find_images(locate(str(tmp_path)))
    assert found and found.parts["train"].labels == ["cat"]


def test_rows_that_are_cut_out_keep_their_numbers(tmp_path: Path) -> None:
    write_pictures(tmp_path, [f"{name}/{number}.png" for name in "ab" for number in range(3)])
    part = find(tmp_path).parts["train"]
    cut = part.cut(2, 5)
    assert (cut.names, cut.size) == (["a/1.png", "b/1.png", "a/2.png"], 3)
    assert [cut.name(row) for row in range(2, 5)] == [part.name(row) for row in range(2, 5)]
    assert list(cut.rows(3, 5).read()) == list(part.rows(3, 5).read())
