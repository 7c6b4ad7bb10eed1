"""Writes a data set as Parquet, or as the competition's CSV files.

    python -m jobs.export --to my-folder
    python -m jobs.export --task competition --format csv --to my-folder
    python -m jobs.export --data photos --size 64x64

Image files are decoded into the storage, where every job finds them again; --to copies them from
there.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal, get_args

import tyro

from fmnist.errors import UserError, together
from fmnist.tasks import find_task
from jobs.support.flags import DEFAULT_TASK, ImageFlags, check_images, parse_flags
from jobs.support.launch import launch
from jobs.support.output import print_facts, print_path, print_table

Format = Literal["parquet", "csv"]
FORMATS = get_args(Format)


@dataclass(frozen=True, kw_only=True)
class Flags:
    config: str | None = None
    """TOML file of flags, local or s3://…; flags that are given here win."""
    quiet: bool = False
    """Print nothing but warnings, errors and where the result is."""
    to: str | None = None
    """A new folder, or s3://bucket/prefix for Parquet; not needed for image files."""
    format: Format = "parquet"
    """parquet (train/ and test/), or csv (train.csv and testX.csv, which has no labels)."""
    task: str | None = None
    """fashion, competition, or a .toml file; by default what image files are, else fashion."""
    data: str = "auto"
    """Path or URI of image files, IDX files, CSV files or Parquet; auto: Fashion-MNIST."""
    storage: str = "results"
    """Where image files are decoded to: a folder or s3://bucket/prefix."""
    images: Annotated[ImageFlags, tyro.conf.arg(name="")] = field(default_factory=ImageFlags)


def parse() -> Flags:
    return parse_flags(Flags, __doc__)


def run(flags: Flags) -> None:
    together(
        lambda: find_task(flags.task or DEFAULT_TASK),
        lambda: check_images(flags.images),
        lambda: _check_format(flags.format),
    )
    from fmnist.data.export import copy_parquet, export_csv, export_parquet
    from fmnist.data.locations import locate
    from jobs.support.connect import job_storage
    from jobs.support.images import find_data

    task = find_task(flags.task) if flags.task else None
    storage = job_storage(flags.storage, dry_run=True)  # raw formats need none, so none is made
    data = find_data(flags.data, task, flags.images, storage)
    if data.source and flags.format == "parquet":
        if flags.to:
            copy_parquet(locate(data.place), flags.to)
        print_path(flags.to or str(data))
        return
    if not flags.to:
        raise UserError("found no --to, expected a new folder to write to")
    dataset = data.load()
    {"parquet": export_parquet, "csv": export_csv}[flags.format](dataset, flags.to)
    print("the data set is written")
    parts = (("train", dataset.train), ("test", dataset.test))
    print_table(("images", "number"), [(name, f"{len(part):,}") for name, part in parts if part])
    print_facts([("fingerprint", dataset.fingerprint)])
    print_path(flags.to)


def _check_format(name: str) -> None:
    if name not in FORMATS:
        raise UserError(f"unknown format {name!r}: expected one of {', '.join(FORMATS)}")


if __name__ == "__main__":
    launch(parse, run)
