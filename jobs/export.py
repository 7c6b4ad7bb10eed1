"""Writes a data set as Parquet, or as the competition's CSV files.

python -m jobs.export --to my-folder
python -m jobs.export --task competition --format csv --to my-folder
"""

from dataclasses import dataclass
from typing import Literal, get_args

from fmnist.errors import UserError
from fmnist.tasks import find_task
from jobs.flags import parse_flags
from jobs.launch import launch

Format = Literal["parquet", "csv"]
FORMATS = get_args(Format)


@dataclass(frozen=True, kw_only=True)
class Flags:
    to: str
    """A new folder, or s3://bucket/prefix for Parquet."""
    format: Format = "parquet"
    """parquet (train/ and test/), or csv (train.csv and testX.csv, which has no labels)."""
    task: str = "fashion"
    """fashion, competition, or a task file that ends in .toml."""
    data: str = "auto"
    """Path or URI of IDX files, the competition's CSV files or Parquet; auto: Fashion-MNIST."""


def parse() -> Flags:
    return parse_flags(Flags, __doc__)


def run(flags: Flags) -> None:
    task = find_task(flags.task)
    if flags.format not in FORMATS:
        raise UserError(f"unknown format {flags.format!r}: expected one of {', '.join(FORMATS)}")
    from fmnist.data.export import export_csv, export_parquet
    from fmnist.data.load import load

    dataset = load(task, flags.data)
    {"parquet": export_parquet, "csv": export_csv}[flags.format](dataset, flags.to)
    for name, part in (("train", dataset.train), ("test", dataset.test)):
        print(f"{name:>5}: {len(part) if part else 0} images")
    print(f"fingerprint {dataset.fingerprint}\nwritten to {flags.to}")


if __name__ == "__main__":
    launch(parse, run)
