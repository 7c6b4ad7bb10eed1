"""Data sets written as Parquet, or as the competition's two CSV files."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath

from pyarrow import fs

from fmnist.data.dataset import Dataset
from fmnist.data.formats import competition_csv, parquet
from fmnist.data.locations import Location, locate
from fmnist.errors import UserError
from fmnist.storage.atomic import atomic_folder
from fmnist.storage.errors import READ_ERRORS, explain, read_errors


def export_parquet(dataset: Dataset, target: str) -> None:
    """Writes `train/` and `test/` below `target`, a local folder or `s3://bucket/prefix`.

    The same data set gives the same bytes, and loads again with the same fingerprint. Refuses a
    target that holds something; a local folder appears whole or not at all, while on S3 a failed
    export leaves what it wrote.
    """

    def write(filesystem: fs.FileSystem, folder: str) -> None:
        for name, part in (("train", dataset.train), ("test", dataset.test)):
            if part is not None:
                parquet.write_part(part, filesystem, f"{folder}/{name}")

    _publish(target, write)


def export_csv(dataset: Dataset, target: str) -> None:
    """Writes the competition's `train.csv` and `testX.csv` below `target`, a folder or s3:// URI.

    `testX.csv` has no labels, so that a data set with test labels loads with another fingerprint.
    Otherwise as `export_parquet`.
    """

    def write(filesystem: fs.FileSystem, folder: str) -> None:
        if dataset.train is not None:
            path = f"{folder}/{competition_csv.FILES['train']}"
            competition_csv.write_csv(dataset.train, filesystem, path)
        if dataset.test is not None:
            unlabelled = replace(dataset.test, labels=None)
            path = f"{folder}/{competition_csv.FILES['test']}"
            competition_csv.write_csv(unlabelled, filesystem, path)

    _publish(target, write)


def copy_parquet(source: Location, target: str) -> None:
    """Copies `train/` and `test/` of a Parquet data set, file by file. Otherwise as above."""

    def write(filesystem: fs.FileSystem, folder: str) -> None:
        for name in sorted({"train", "test"} & source.names()):
            for path in source.child(name).files():
                copied = f"{folder}/{name}/{PurePosixPath(path).name}"
                filesystem.create_dir(f"{folder}/{name}")
                fs.copy_files(
                    path, copied, source_filesystem=source.filesystem,
                    destination_filesystem=filesystem,
                )  # fmt: skip

    _publish(target, write)


def find_target(target: str) -> Location:
    """Returns where an export goes; raises UserError unless it is a new or empty folder."""
    location = locate(target)
    if location.filesystem is None:
        raise UserError(f"{target}: expected a path, file:// or s3:// to write to")
    with read_errors(target):
        is_file = location.filesystem.get_file_info(location.path).type == fs.FileType.File
    if is_file:
        raise UserError(f"{target}: is a file, expected a new folder")
    if location.names():
        raise UserError(f"{target}: is not empty, expected a new folder")
    return location


def _publish(target: str, write: Callable[[fs.FileSystem, str], None]) -> None:
    location = find_target(target)
    try:
        if isinstance(location.filesystem, fs.LocalFileSystem):
            with atomic_folder(Path(location.path)) as folder:
                write(location.filesystem, str(folder))
        else:
            write(location.filesystem, location.path)
    except READ_ERRORS as error:
        raise UserError(f"{target}: could not be written: {explain(error)}") from error
