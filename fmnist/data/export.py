"""Data sets written as Parquet, or as the competition's two CSV files."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pyarrow import fs

from fmnist.data.dataset import Dataset
from fmnist.data.formats import competition_csv, parquet
from fmnist.data.locations import READ_ERRORS, locate, reason
from fmnist.errors import UserError


def export_parquet(dataset: Dataset, target: str) -> None:
    """Writes `train/` and `test/` below `target`, a local folder or `s3://bucket/prefix`.

    The same data set gives the same bytes, and loads again with the same fingerprint. Refuses a
    target that holds something; a local folder appears whole or not at all, while on S3 a failed
    export leaves what it wrote.
    """

    def write(filesystem: Any, folder: str) -> None:
        for name, part in (("train", dataset.train), ("test", dataset.test)):
            if part is not None:
                parquet.write_part(part, filesystem, f"{folder}/{name}")

    _publish(target, write)


def export_csv(dataset: Dataset, target: str) -> None:
    """Writes the competition's `train.csv` and `testX.csv` below `target`, a folder or s3:// URI.

    `testX.csv` has no labels, so that a data set with test labels loads with another fingerprint.
    Otherwise as `export_parquet`.
    """

    def write(filesystem: Any, folder: str) -> None:
        if dataset.train is not None:
            path = f"{folder}/{competition_csv.FILES['train']}"
            competition_csv.write_csv(dataset.train, filesystem, path)
        if dataset.test is not None:
            unlabelled = replace(dataset.test, labels=None)
            path = f"{folder}/{competition_csv.FILES['test']}"
            competition_csv.write_csv(unlabelled, filesystem, path)

    _publish(target, write)


def _publish(target: str, write: Callable[[Any, str], None]) -> None:
    location = locate(target)
    if location.filesystem is None:
        raise UserError(f"{target}: expected a path, file:// or s3:// to write to")
    if location.names():
        raise UserError(f"{target}: is not empty, expected a new folder")
    try:
        if isinstance(location.filesystem, fs.LocalFileSystem):
            _write_locally(Path(location.path), write)
        else:
            write(location.filesystem, location.path.rstrip("/"))
    except READ_ERRORS as error:
        raise UserError(f"{target}: could not be written: {reason(error)}") from error


def _write_locally(folder: Path, write: Callable[[Any, str], None]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        write(fs.LocalFileSystem(), str(unfinished))
        unfinished.chmod(0o755)  # mkdtemp gives it to its owner alone
        unfinished.rename(folder)  # refused if something was written there meanwhile
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
