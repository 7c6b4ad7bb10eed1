"""Writes data as Parquet or CSV, or a model for other programs.

    python -m jobs.export --to my-folder
    python -m jobs.export --task competition --format csv --to my-folder
    python -m jobs.export --data photos --size 64x64
    python -m jobs.export --run fashion-cnn-0123456789ab --format onnx

Image files are decoded into the storage, where every job finds them again; --to copies them from
there. With --run, a model is exported into the storage, after it has predicted the test images of
the data with the runtime of its format and was compared with Keras.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal, get_args

import tyro

from fmnist.errors import UserError, together, unknown
from fmnist.exports.formats import FORMATS as MODEL_FORMATS
from fmnist.exports.formats import check_installed
from fmnist.tasks import TaskName, find_task
from jobs.support.config import absolute_place, job_config
from jobs.support.flags import DEFAULT_TASK, ImageFlags, JobFlags, check_images, parse_flags
from jobs.support.launch import launch
from jobs.support.output import print_facts, print_path, print_table

Format = Literal["parquet", "csv", "onnx", "saved_model", "litert"]
FORMATS = get_args(Format)
WRITTEN = "the data set is written"


@dataclass(frozen=True, kw_only=True)
class Flags(JobFlags):
    run: str | None = None
    """Export the model of this run: its id in the storage, or its folder or URI anywhere."""
    to: str | None = None
    """For data: a new folder or s3://bucket/prefix; not needed for image files."""
    format: Format = "parquet"
    """For data parquet, or csv (no labels in testX.csv); for a model onnx, saved_model, litert."""
    task: TaskName | str | None = None
    """fashion, competition, or a .toml file; by default what image files are, else fashion."""
    data: str = "auto"
    """Path or URI of image files, IDX files, CSV files or Parquet; auto: Fashion-MNIST."""
    storage: str = "results"
    """Where models and decoded image files go: a folder or s3://bucket/prefix."""
    images: Annotated[ImageFlags, tyro.conf.arg(name="")] = field(default_factory=ImageFlags)


def parse() -> Flags:
    return parse_flags(Flags, __doc__)


def run(flags: Flags) -> None:
    together(
        lambda: find_task(flags.task or DEFAULT_TASK),
        lambda: check_images(flags.images),
        lambda: _check_use(flags),
    )
    _export_model(flags, flags.run) if flags.run else _export_data(flags)


def _export_data(flags: Flags) -> None:
    from fmnist.data.export import copy_parquet, export_csv, export_parquet, find_target
    from fmnist.data.locations import locate
    from jobs.support.connect import job_storage
    from jobs.support.images import find_data

    if flags.to:
        find_target(flags.to)  # before anything is decoded
    task = find_task(flags.task) if flags.task else None
    storage = job_storage(flags.storage, dry_run=True)  # raw formats need none, so none is made
    data = find_data(flags.data, task, flags.images, storage, unchecked=True)
    if data.source and flags.format == "parquet":
        if flags.to:
            copy_parquet(locate(data.place), flags.to)
            print(WRITTEN)
        print_path(absolute_place(flags.to) if flags.to else str(data))
        return
    if not flags.to:
        raise UserError("found no --to, expected a new folder to write to")
    dataset = data.load()
    {"parquet": export_parquet, "csv": export_csv}[flags.format](dataset, flags.to)
    print(WRITTEN)
    parts = (("train", dataset.train), ("test", dataset.test))
    print_table(("images", "number"), [(name, f"{len(part):,}") for name, part in parts if part])
    print_facts([("fingerprint", dataset.fingerprint)])
    print_path(absolute_place(flags.to))


def _export_model(flags: Flags, run: str) -> None:
    from fmnist.exports.run import export_model
    from jobs.support.connect import ensure_ray, job_storage
    from jobs.support.images import find_data
    from jobs.support.results import print_export
    from jobs.support.runs import find_model

    storage = job_storage(flags.storage)
    model = find_model(storage, run, flags.task)
    dataset = find_data(flags.data, model.task, flags.images, storage).load()
    ensure_ray()
    config = job_config("export", flags)
    manifest = export_model(model, flags.format, dataset, storage, config)
    print_path(print_export(storage, manifest))


def _check_use(flags: Flags) -> None:
    """Raises UserError for a format that there is not, and for flags of the two uses together."""
    if flags.format not in FORMATS:
        raise UserError(unknown("format", flags.format, FORMATS))
    of_model = flags.format in MODEL_FORMATS
    if flags.run and not of_model:
        names = " or ".join(MODEL_FORMATS)
        raise UserError(f"--run exports a model: expected --format {names}, not {flags.format}")
    if flags.run and flags.to:
        raise UserError("--run exports a model into --storage: found --to, which is for data")
    if of_model and not flags.run:
        raise UserError(f"--format {flags.format} is for a model: found no --run, expected one")
    if of_model:
        check_installed(flags.format)


if __name__ == "__main__":
    launch(parse, run)
