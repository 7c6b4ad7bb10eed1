"""Trains, evaluates and publishes one model.

    python -m jobs.train --recipe quick --workers 2
    ray job submit --working-dir . -- python -m jobs.train --recipe quick --storage s3://bucket/fmnist

Submitted again, a finished run is found, and an unfinished one goes on from its last checkpoint.
"""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated

import tyro

from fmnist.errors import UserError, together
from fmnist.job_config import JobConfig
from fmnist.recipes import RECIPES, RecipeName
from fmnist.run_settings import Cluster, Ingest, Training, check
from fmnist.tasks import TaskName, find_task
from jobs.support.config import job_config
from jobs.support.flags import (
    DEFAULT_RECIPE,
    DEFAULT_TASK,
    ImageFlags,
    JobFlags,
    check_images,
    command,
    parse_flags,
)
from jobs.support.launch import launch
from jobs.support.networks import (
    config_with_files,
    is_published,
    read_files,
    read_networks,
    try_networks,
)
from jobs.support.output import print_path

if TYPE_CHECKING:
    from fmnist.data.dataset import Dataset
    from fmnist.models.own_network import OwnNetwork
    from fmnist.storage.manifest import Manifest
    from fmnist.storage.open import Storage
    from jobs.support.images import Data

TRAINING = replace(RECIPES[DEFAULT_RECIPE], ingest="auto")  # only this job streams


@dataclass(frozen=True, kw_only=True)
class Flags(JobFlags):
    recipe: RecipeName | str = DEFAULT_RECIPE
    """Named configuration, such as quick or fashion-4min; the other flags change it."""
    task: TaskName | str | None = None
    """fashion, competition, or a .toml file; by default what image files are, else fashion."""
    data: str = "auto"
    """Path or URI of image files, IDX files, CSV files or Parquet; auto: Fashion-MNIST."""
    storage: str = "results"
    """Where results go: a folder or s3://bucket/prefix."""
    resume: str | None = None
    """Id of an unfinished run: refused unless configuration and data are still those it has."""
    score: bool = False
    """Also score the test images and write the submission."""
    images: Annotated[ImageFlags, tyro.conf.arg(name="")] = field(default_factory=ImageFlags)
    training: Annotated[Training, tyro.conf.arg(name="")] = TRAINING
    cluster: Annotated[Cluster, tyro.conf.arg(name="")] = field(default_factory=Cluster)


def parse() -> Flags:
    return parse_flags(Flags, __doc__)


def run(flags: Flags) -> None:
    files = read_files([flags.training], check_flags(flags))
    from fmnist.data.dataset import Dataset
    from fmnist.runs.ids import check_resumed
    from fmnist.training.run import train
    from jobs.support.connect import ensure_ray, job_storage
    from jobs.support.images import find_data
    from jobs.support.ingest import load_or_stream

    storage = job_storage(flags.storage)
    task = find_task(flags.task) if flags.task else None
    data = find_data(flags.data, task, flags.images, storage)
    dataset = load_or_stream(data, flags.training.ingest)
    if flags.score and dataset.test is None:
        raise UserError(f"{dataset.source}: has no test part, expected one to score, or no --score")
    ingest: Ingest = "memory" if isinstance(dataset, Dataset) else "stream"
    flags = replace(flags, training=replace(flags.training, ingest=ingest))
    training = files.named(flags.training)
    if flags.resume:
        check_resumed(flags.resume, dataset, training, flags.cluster, storage)
    if not is_published(training, dataset, storage):
        ensure_ray()
        files = try_networks(files, [training], dataset, storage)
    config = config_with_files(job_config("train", flags), files)
    to_score = replace(dataset, train=None) if isinstance(dataset, Dataset) else None
    held = [dataset]
    del dataset  # so that `train` holds the images alone, and frees what it has shared
    cluster, line = flags.cluster, command()
    manifest = train(
        held.pop(), training, cluster, storage, command=line, config=config, files=files
    )
    page = report(storage, manifest)
    if flags.score:
        score_test_images(manifest.id, to_score, data, config, storage, gpu=cluster.gpu)
    print_path(page)


def score_test_images(
    run: str,
    to_score: "Dataset | None",
    data: "Data",
    config: JobConfig,
    storage: "Storage",
    *,
    gpu: bool,
) -> None:
    """Labels the test images with the published run, and prints where the labels are."""
    from fmnist.runs.ids import run_folder
    from fmnist.runs.published import open_model
    from fmnist.scoring.inputs import find_inputs, from_dataset
    from fmnist.scoring.run import are_published, score
    from fmnist.scoring.settings import PredictionSettings
    from jobs.support.connect import ensure_ray
    from jobs.support.results import print_predictions

    model = open_model(storage, run_folder(run), data.task)
    if to_score and not data.source:
        inputs = from_dataset(to_score)
    else:  # the shards of image files have their names, which a data set in memory has not
        ensure_ray()
        inputs = find_inputs(data.task, data.place)
    settings = PredictionSettings(gpu=gpu)
    if not are_published(model, inputs, settings, storage):
        ensure_ray()
    scored = score(model=model, inputs=inputs, storage=storage, settings=settings, config=config)
    print_predictions(storage, scored, opened=False)


def report(storage: "Storage", manifest: "Manifest") -> str:
    """Prints what a run has published, and tells MLflow; returns the run's page."""
    from fmnist.runs.ids import run_folder
    from fmnist.tracking.mlflow import tell_mlflow
    from jobs.support.results import print_run

    page = print_run(storage, manifest)
    tell_mlflow(storage, run_folder(manifest.id))
    return page


def check_flags(flags: Flags) -> "list[OwnNetwork]":
    """Returns the user's networks; raises UserError that lists all mistakes in the flags."""
    networks: list[OwnNetwork] = []
    together(
        lambda: check(flags.training, flags.cluster),
        lambda: networks.extend(read_networks([flags.training])),
        lambda: find_task(flags.task or DEFAULT_TASK),
        lambda: check_images(flags.images),
    )
    return networks


if __name__ == "__main__":
    launch(parse, run)
