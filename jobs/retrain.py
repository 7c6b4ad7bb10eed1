"""Trains a challenger, and makes it champion if it is better.

    python -m jobs.retrain --data s3://bucket/images --storage s3://bucket/fmnist
    ray job submit --working-dir . -- python -m jobs.retrain --data … --storage s3://bucket/fmnist
    python -m jobs.retrain --rollback --storage s3://bucket/fmnist

Made for schedules. Afterwards, the champion scores the data. Run again on the same data, it does
nothing twice. Its exit code is 0 also if the challenger was not promoted, or if the data were
refused.
"""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated

import tyro

from fmnist.drift.limits import DriftLimits, check_limits
from fmnist.errors import UserError, together
from fmnist.recipes import RECIPES, RecipeName
from fmnist.registry.retention_settings import Retention, check_retention
from fmnist.retraining.gate import Gate, check_gate
from fmnist.run_settings import Cluster, Training, check
from fmnist.scoring.settings import check_actors
from fmnist.tasks import TaskName, find_task
from jobs.support.config import job_config
from jobs.support.flags import (
    DEFAULT_RECIPE,
    DEFAULT_TASK,
    FinishFlags,
    ImageFlags,
    check_images,
    command,
    parse_flags,
)
from jobs.support.launch import launch
from jobs.support.networks import config_with_files, read_files, read_networks, try_networks
from jobs.support.on_finish import JobResult
from jobs.support.output import print_path

if TYPE_CHECKING:
    from fmnist.data.locations import Location
    from fmnist.models.own_network import OwnNetwork
    from fmnist.storage.manifest import Manifest
    from fmnist.storage.open import Storage
    from jobs.support.images import Data


@dataclass(frozen=True, kw_only=True)
class Flags(FinishFlags):
    recipe: RecipeName | str = DEFAULT_RECIPE
    """Named configuration, such as quick or fashion-4min; the other flags change it."""
    task: TaskName | str | None = None
    """fashion, competition, or a .toml file; by default what image files are, else fashion."""
    data: str = "auto"
    """Path or URI of image files, IDX files, CSV files or Parquet; auto: Fashion-MNIST."""
    score_data: str | None = None
    """What the champion scores; without it, the test part of the data."""
    storage: str = "results"
    """Where results and the registry are: a folder or s3://bucket/prefix."""
    actors: int | str | None = None
    """Processes that score, or a range such as 2:16; by default as many as there is room for."""
    force: bool = False
    """Train a challenger with the next unused seed, also on data that the champion has learned."""
    dry_run: bool = False
    """Say what would be done, and write nothing."""
    rollback: bool = False
    """Make the champion's predecessor champion again, and do nothing else."""
    images: Annotated[ImageFlags, tyro.conf.arg(name="")] = field(default_factory=ImageFlags)
    gate: Annotated[Gate, tyro.conf.arg(name="")] = field(default_factory=Gate)
    limits: Annotated[DriftLimits, tyro.conf.arg(name="")] = field(default_factory=DriftLimits)
    retention: Annotated[Retention, tyro.conf.arg(name="")] = field(default_factory=Retention)
    training: Annotated[Training, tyro.conf.arg(name="")] = RECIPES[DEFAULT_RECIPE]
    cluster: Annotated[Cluster, tyro.conf.arg(name="")] = field(default_factory=Cluster)


def parse() -> Flags:
    return parse_flags(Flags, __doc__)


def run(flags: Flags) -> JobResult | None:
    files = read_files([flags.training], check_flags(flags))
    from fmnist.cluster.resources import scoring_pool_size
    from fmnist.retraining.plan import make_plan
    from fmnist.retraining.run import retrain
    from fmnist.scoring.inputs import find_inputs, from_dataset
    from jobs.support.connect import ensure_ray, job_storage
    from jobs.support.images import find_data
    from jobs.support.results import print_plan

    storage = job_storage(flags.storage, dry_run=flags.dry_run)
    if flags.rollback:
        return roll_back(storage, flags)
    task = find_task(flags.task) if flags.task else None
    data = find_data(flags.data, task, flags.images, storage, dry_run=flags.dry_run)
    plan = make_plan(data.load(), files.named(flags.training), storage, force=flags.force)
    if not flags.score_data:  # before Ray starts: it refuses data without a test part
        inputs = from_dataset(plan.dataset)
    if flags.dry_run:
        print_plan(storage, plan)
        return None
    ensure_ray()
    if not plan.no_training and not plan.pending:
        scoring_pool_size(flags.actors, gpu=flags.cluster.gpu)  # before anything is trained
        plan = replace(plan, files=try_networks(files, [plan.training], plan.dataset, storage))
    place = place_to_score(flags, data, storage)
    if place:
        inputs = find_inputs(data.task, place)
    manifest = retrain(
        plan,
        inputs,
        flags.cluster,
        storage,
        gate=flags.gate,
        limits=flags.limits,
        retention=flags.retention,
        command=command(),
        config=config_with_files(job_config("retrain", flags), files),
        actors=flags.actors,
    )
    return report(storage, manifest)


def report(storage: "Storage", manifest: "Manifest") -> JobResult:
    """Prints what a retraining has published, and tells MLflow."""
    from fmnist.retraining.result import SUMMARY, retrainings_folder
    from fmnist.tracking.mlflow import tell_mlflow
    from jobs.support.results import file_place, print_retraining

    page = print_retraining(storage, manifest)
    folder = retrainings_folder(manifest.id)
    tell_mlflow(storage, folder)
    print_path(page)
    summary = file_place(storage, folder, manifest, SUMMARY)
    return JobResult(outcome=manifest.details["outcome"], summary=summary)


def place_to_score(flags: Flags, data: "Data", storage: "Storage") -> "str | Location | None":
    """Returns where the images to score are; None for the test part of the data in memory."""
    from jobs.support.images import find_data

    if flags.score_data:
        images = replace(flags.images, size=None, test=0.0)
        return find_data(flags.score_data, data.task, images, storage, scored=True).place
    return data.place if data.source else None  # decoded images have the files' names there


def check_flags(flags: Flags) -> "list[OwnNetwork]":
    """Returns the user's networks; raises UserError that lists all mistakes in the flags."""
    networks: list[OwnNetwork] = []
    together(
        lambda: check(flags.training, flags.cluster),
        lambda: networks.extend(read_networks([flags.training])),
        lambda: check_gate(flags.gate),
        lambda: check_limits(flags.limits),
        lambda: check_retention(flags.retention),
        lambda: None if flags.rollback else find_task(flags.task or DEFAULT_TASK),
        lambda: check_images(flags.images),
        lambda: check_actors(flags.actors),
        lambda: _check_rollback(flags),
        lambda: _check_ingest(flags),
    )
    return networks


def _check_ingest(flags: Flags) -> None:
    if flags.training.ingest != "memory":
        raise UserError(
            f"ingest is {flags.training.ingest}, expected memory: only jobs.train streams images"
        )


def _check_rollback(flags: Flags) -> None:
    if flags.rollback and flags.force:
        raise UserError("found --rollback and --force, expected one or the other")


def roll_back(storage: "Storage", flags: Flags) -> JobResult | None:
    """Rolls the champion back, or in a dry run prints which run would become champion."""
    from fmnist.registry.candidates import registry_folder
    from fmnist.registry.champion import find_rollback_target, pointer_key, rollback
    from fmnist.tracking.mlflow import tell_mlflow
    from jobs.support.images import find_task_name

    task_name = flags.task or find_task_name(flags.data)
    if task_name.endswith(".toml"):
        task_name = find_task(task_name).name
    champion, target = find_rollback_target(storage, task_name)
    if flags.dry_run:
        print(f"champion {champion.run} would be rolled back to {target}")
        return None
    now = rollback(storage, task_name, command=command())
    print(f"champion {champion.run} is rolled back: {now.run} is champion (move {now.counter})")
    tell_mlflow(storage, registry_folder(task_name))
    return JobResult(outcome="rolled-back", summary=f"{storage.uri}/{pointer_key(task_name)}")


if __name__ == "__main__":
    launch(parse, run)
