"""Folders of image files.

A data set is a folder with `train/` and `test/`, or a single folder, which is `train` if it has
labels and else `test`. The images of a part are labelled by

- folders: `<class>/…/name.png`, or
- a CSV file `file,label`: `labels.csv` in the part's folder, or `<folder>.csv` beside it, or
- nothing: such images can be scored.

Files and folders whose names begin with a dot are ignored, and so is what has no ending of an
image. The order is that of the paths below the part's folder, by code points; but the classes of
training images in folders alternate, since streamed training mixes images only with near ones.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fmnist.data.formats.parquet import PARTS
from fmnist.data.locations import Location, is_file
from fmnist.errors import UserError
from fmnist.ingest.decode import FORMATS
from fmnist.ingest.source import ImagePart, ImageSource, file_stamp, is_printable
from fmnist.storage.errors import read_errors

SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)
LABELS = "labels.csv"
LABEL_FILES = {
    LABELS, *(name for part in PARTS for name in (f"{part}.csv", f"{part}/{LABELS}"))
}  # fmt: skip
HEADER = ["file", "label"]


@dataclass(frozen=True, kw_only=True)
class _Tree:
    """Files and folders below a folder, by paths relative to it; hidden entries are left out."""

    location: Location
    files: dict[str, Any]  # pyarrow.fs.FileInfo
    folders: set[str]

    def below(self, name: str) -> "_Tree":
        start = f"{name}/"
        return _Tree(
            location=self.location.child(name),
            files={
                path.removeprefix(start): info
                for path, info in self.files.items()
                if path.startswith(start)
            },
            folders={path.removeprefix(start) for path in self.folders if path.startswith(start)},
        )

    @cached_property
    def images(self) -> list[str]:
        """Sorted paths; UserError for one that can't be printed."""
        images = sorted(path for path in self.files if path.lower().endswith(SUFFIXES))
        for path in images:
            if not is_printable(path):
                raise UserError(
                    f"{self.location.uri}: the name {path!r} has a character that can't be printed"
                )
        return images


def find_image_files(location: Location, *, parts_only: bool = False) -> ImageSource | None:
    """The image files below a folder, by parts; None where there are none.

    With `parts_only`, files outside of folders called train and test do not count.

    Raises UserError for names that differ in case only or can't be printed, for a class without
    images, and for labels without a file or files without a label.
    """
    tree = _list(location)
    if not tree.images:
        return None
    present = _parts(tree)
    if parts_only and not present:
        return None
    if present:
        parts = {
            part: _find_part(tree.below(part), tree.files.get(f"{part}.csv"), test=part == "test")
            for part in present
        }
    else:
        found = _find_part(tree, None, test=False)
        parts = {"test" if found.labels is None else "train": found}
    anew = location.listed_anew()  # the source must not keep what was listed
    return ImageSource(
        uri=location.uri,
        parts=parts,
        stamp=_stamp(tree),
        stamp_now=lambda: _stamp(_list(anew)),
        ignored=sorted({path.partition("/")[0] for path in tree.images}.difference(present))
        if present
        else (),
    )


def _list(location: Location) -> _Tree:
    root = location.path.rstrip("/") + "/"
    files, folders = {}, set()
    for info in location.infos():
        path = info.path.removeprefix(root)
        if path.startswith(".") or "/." in path:
            continue
        if is_file(info):
            files[path] = info
        else:
            folders.add(path)
    return _Tree(location=location, files=files, folders=folders)


def _find_part(tree: _Tree, labels_beside: Any, *, test: bool) -> ImagePart:
    names = tree.images
    _check_case(names, tree.location.uri)
    labels_inside = tree.files.get(LABELS)
    if labels_inside and labels_beside:
        raise UserError(
            f"{tree.location.uri}: found {labels_inside.path} and {labels_beside.path}, expected "
            "one file of labels"
        )
    labels: Sequence[str] | None
    if labels_file := labels_inside or labels_beside:
        labels = _read_labels(tree, labels_file.path, names)
    else:
        labels = _folder_labels(tree, names)
    part = ImagePart(
        size=len(names),
        names=names,
        labels=labels,
        paths=[tree.files[name].path for name in names],
        filesystem=tree.location.filesystem,
    )
    return part if labels_file or labels is None or test else _mixed(part)


def _mixed(part: ImagePart) -> ImagePart:
    """Spreads each class evenly: at every row, each has had the same share of its images."""
    labels = list(map(str, part.labels or ()))
    numbers = {label: number for number, label in enumerate(sorted(set(labels)))}
    classes = np.fromiter((numbers[label] for label in labels), np.int64, part.size)
    counts = np.bincount(classes)
    by_class = np.argsort(classes, kind="stable")
    shares = np.empty(part.size)
    shares[by_class] = np.concatenate([(np.arange(count) + 0.5) / count for count in counts])
    return part.take(np.lexsort((classes, shares)))


def _folder_labels(tree: _Tree, names: list[str]) -> list[str] | None:
    """The first folder of each path, or None where all images lie in the part's folder itself."""
    flat = [name for name in names if "/" not in name]
    if len(flat) == len(names):
        return None
    if flat:
        raise UserError(
            f"{tree.location.uri}: {flat[0]} lies beside folders of classes, expected all images "
            f"in folders named by their class, or none and a {LABELS}"
        )
    labels = [name.partition("/")[0] for name in names]
    top = {path for path in tree.folders if "/" not in path}
    if empty := sorted(top - set(labels)):
        raise UserError(f"{tree.location.uri}: class {empty[0]!r} has no images, expected some")
    return labels


def _read_labels(tree: _Tree, path: str, names: list[str]) -> list[str]:
    assert tree.location.filesystem is not None
    with read_errors(path), tree.location.filesystem.open_input_stream(path) as stream:
        text = stream.read().decode("utf-8-sig")
    try:
        rows = list(csv.reader(io.StringIO(text, newline=None)))
    except csv.Error as error:
        raise UserError(f"{path}: is no CSV: {error}") from error
    if not rows or rows[0] != HEADER:
        found = ",".join(rows[0]) if rows else "nothing"
        raise UserError(f"{path}: its header is {found!r}, expected {','.join(HEADER)!r}")
    labels: dict[str, str] = {}
    there = set(names)
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(HEADER):
            raise UserError(f"{path}: row {number} has {len(row)} fields, expected 2")
        name, label = row
        if name not in there:
            raise UserError(f"{path}: row {number} names {name!r}, which is no image file there")
        if name in labels:
            raise UserError(f"{path}: row {number} names {name!r} for the second time")
        labels[name] = label
    if missing := [name for name in names if name not in labels]:
        raise UserError(
            f"{path}: has no label for {missing[0]} ({len(missing)} such files), expected one for "
            "each image"
        )
    return [labels[name] for name in names]


def _check_case(names: list[str], uri: str) -> None:
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.lower(), name)
        if other != name:
            raise UserError(
                f"{uri}: {other} and {name} differ in case only, expected names that are different "
                "on every file system"
            )


def _stamp(tree: _Tree) -> str:
    """Of the images and labels alone: what else lies there may change while they are read."""
    present = _parts(tree)
    names = [name for name in tree.images if not present or name.partition("/")[0] in present]
    names += [name for name in LABEL_FILES if name in tree.files]
    return file_stamp((name, tree.files[name]) for name in sorted(names))


def _parts(tree: _Tree) -> list[str]:
    return [part for part in PARTS if any(path.startswith(f"{part}/") for path in tree.images)]
