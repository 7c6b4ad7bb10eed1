"""Data sets read from IDX files, the competition's CSV files or Parquet."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from fmnist.data.dataset import Dataset, Examples
from fmnist.data.formats import competition_csv, idx, parquet
from fmnist.data.locations import OFFICIAL, Location, locate
from fmnist.data.official import default_cache, find_official
from fmnist.errors import UserError
from fmnist.tasks import Task

Format = Literal["idx", "csv", "parquet"]
Parts = dict[str, Examples | None]


def load(task: Task, place: str | Location = OFFICIAL, *, cache: Path | None = None) -> Dataset:
    """The data set at `place`: a path or URI as for `locate`; at http(s):// a base of IDX files.

    OFFICIAL is Fashion-MNIST, verified: from `cache` (by default `~/.cache/fmnist`), the Debian
    package's folder, a mirror, or the package fetched. Files of another place need not be the
    official ones. A single CSV or Parquet file is the `test` part. Raises UserError.
    """
    if place == OFFICIAL:
        return _load_official(task, cache or default_cache())
    location = locate(place)
    return load_format(task, location, find_format(location))


def load_format(task: Task, location: Location, format: Format) -> Dataset:
    """The data set at a location whose format is known; otherwise as `load`."""
    parts = READERS[format](location, task)
    if not any(parts.values()):
        raise UserError(f"{location.uri}: found no train and no test data for task {task.name!r}")
    if parts["train"] is not None and parts["train"].labels is None:
        raise UserError(f"{location.uri}: its train part has no labels")
    source = f"{format} at {location.uri}"
    return Dataset(task=task, source=source, train=parts["train"], test=parts["test"])


def find_format(location: Location) -> Format:
    """The format of the files at a location. Raises UserError if it is none or more than one."""
    if location.filesystem is None:
        return "idx"
    if location.is_file():
        suffixes: dict[str, Format] = {".csv": "csv", parquet.SUFFIX: "parquet"}
        if format := suffixes.get(Path(location.path).suffix):
            return format
        raise UserError(
            f"{location.uri}: expected a folder, or a file that ends in .parquet or .csv"
        )
    found = find_formats(location)
    if len(found) == 1:
        return found[0]
    first = next(iter(idx.FILES.values()))[0]
    raise UserError(
        f"{location.uri}: found {' and '.join(found) or 'no'} data, expected image files, the IDX "
        f"files ({first}, …), {' and '.join(competition_csv.FILES.values())}, or Parquet files"
    )


def find_formats(location: Location) -> list[Format]:
    """The formats of which a folder has files, by the files' names."""
    names = location.names()
    pairs = [name for pair in idx.FILES.values() for name in pair]
    present: dict[Format, bool] = {
        "idx": bool(names & {*pairs, *(f"{name}.gz" for name in pairs)}),
        "csv": bool(names & set(competition_csv.FILES.values())),
        "parquet": any(parquet.find_parquet_files(location, part) for part in parquet.PARTS),
    }
    return [format for format, is_present in present.items() if is_present]


def _load_official(task: Task, cache: Path) -> Dataset:
    if not task.train_rows and not task.test_rows:
        raise UserError(
            f"task {task.name!r} is not made from Fashion-MNIST: give its data set with --data"
        )
    files, source = find_official(cache)
    parts = idx.read_parts(task, lambda name: io.BytesIO(files[name]), source)
    return Dataset(task=task, source=source, train=parts["train"], test=parts["test"])


def _read_idx(location: Location, task: Task) -> Parts:
    return idx.read_parts(task, lambda name: location.child(name).open(), location.uri)


def _read_csv(location: Location, task: Task) -> Parts:
    if location.is_file():
        return {"train": None, "test": competition_csv.read_csv(location, task)}
    names = location.names()
    return {
        part: competition_csv.read_csv(location.child(name), task) if name in names else None
        for part, name in competition_csv.FILES.items()
    }


def _read_parquet(location: Location, task: Task) -> Parts:
    return {part: parquet.read_part(location, task, part) for part in parquet.PARTS}


READERS: dict[Format, Callable[[Location, Task], Parts]] = {
    "idx": _read_idx,
    "csv": _read_csv,
    "parquet": _read_parquet,
}
