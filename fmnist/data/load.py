"""Data sets read from IDX files, the competition's CSV files or Parquet."""

import io
from pathlib import Path
from typing import Literal

from fmnist.data.dataset import Dataset, Examples
from fmnist.data.formats import competition_csv, idx, parquet
from fmnist.data.locations import Location, locate
from fmnist.data.official import default_cache, find_official
from fmnist.errors import UserError
from fmnist.tasks import Task

Kind = Literal["idx", "csv", "parquet"]
Parts = dict[str, Examples | None]


def load(task: Task, spec: str = "auto", *, cache: Path | None = None) -> Dataset:
    """The data set at `spec`: a path, a file:// or s3:// URI, or an http(s):// base of IDX files.

    `auto` is the official Fashion-MNIST, verified: from `cache` (by default `~/.cache/fmnist`), the
    Debian package's folder, a mirror, or the package fetched. Files given by `spec` need not be the
    official ones. A single CSV or Parquet file is the `test` part. Raises UserError.
    """
    if spec == "auto":
        return _load_official(task, cache or default_cache())
    location, kind = locate(spec), find_kind(spec)
    parts = {"idx": _read_idx, "csv": _read_csv, "parquet": _read_parquet}[kind](location, task)
    if not any(parts.values()):
        raise UserError(f"{spec}: found no train and no test data for task {task.name!r}")
    if parts["train"] is not None and parts["train"].labels is None:
        raise UserError(f"{spec}: its train part has no labels")
    return Dataset(task=task, source=f"{kind} at {spec}", train=parts["train"], test=parts["test"])


def find_kind(spec: str) -> Kind:
    """The format of what is at `spec`. Raises UserError if it is none or more than one."""
    location = locate(spec)
    if location.filesystem is None:
        return "idx"
    if location.is_file():
        suffixes: dict[str, Kind] = {".csv": "csv", parquet.SUFFIX: "parquet"}
        if kind := suffixes.get(Path(location.path).suffix):
            return kind
        raise UserError(f"{spec}: expected a folder, or a file that ends in .parquet or .csv")
    names = set(location.names())
    pairs = [name for pair in idx.FILES.values() for name in pair]
    kinds: dict[Kind, bool] = {
        "idx": bool(names & {*pairs, *(f"{name}.gz" for name in pairs)}),
        "csv": bool(names & set(competition_csv.FILES.values())),
        "parquet": any(parquet.find_parquet_files(spec, part)[1] for part in parquet.PARTS),
    }
    found = [kind for kind, there in kinds.items() if there]
    if len(found) == 1:
        return found[0]
    raise UserError(
        f"{spec}: found {' and '.join(found) or 'no'} data, expected either the IDX files"
        f" ({pairs[0]}, …), {' and '.join(competition_csv.FILES.values())}, or Parquet files"
    )


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
    return {part: parquet.read_part(location.uri, task, part) for part in parquet.PARTS}
