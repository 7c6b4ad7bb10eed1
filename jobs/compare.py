"""Trains a grid of networks in parallel and puts them on one page.

    python -m jobs.compare --comparison architectures --epochs 10
    python -m jobs.compare --architecture cnn,resnet --axis batch=256,1024 --seeds 5 --dry-run
    python -m jobs.compare --recipe quick --ablate augmentation,schedule --seeds 5
    python -m jobs.compare --search optuna --trials 20 --range learning_rate=1e-4..1e-2:log

Named comparisons are the report's: architectures, activations, optimizers, and report, which is all
of them. Other axes multiply their cells. Started again, a comparison goes on where it was.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import cycle
from typing import TYPE_CHECKING, Annotated

import tyro

from fmnist.comparison.grid.cells import Grid, resolve_grid, with_seeds
from fmnist.errors import together
from fmnist.run_settings import Cluster, Training
from fmnist.tasks import TaskName, find_task
from jobs.support.config import job_config
from jobs.support.flags import FinishFlags, ImageFlags, check_images, command, parse_flags
from jobs.support.grid import GridFlags, axes_with_recipe, comparison_name, find_grid
from jobs.support.launch import FAILED, launch
from jobs.support.networks import config_with_files, read_files, read_networks, try_networks
from jobs.support.on_finish import JobResult
from jobs.support.output import print_path

if TYPE_CHECKING:
    from fmnist.comparison.grid.optuna_search import OptunaSearch
    from fmnist.comparison.progress import SweepProgress
    from fmnist.comparison.rounds import SpecMaker
    from fmnist.data.dataset import Dataset
    from fmnist.job_config import JobConfig
    from fmnist.models.network_files import NetworkFiles
    from fmnist.models.own_network import OwnNetwork
    from fmnist.storage.manifest import Manifest
    from fmnist.storage.open import Storage
    from fmnist.training.spec import RunSpec

DEFAULT_TASK = "competition"
_CLUSTER = Cluster(checkpoint_every=5, keep_checkpoints=1)  # few, since epochs are short


@dataclass(frozen=True, kw_only=True)
class Flags(GridFlags, FinishFlags):
    dry_run: bool = False
    """Print the cells, the resources and an estimate of the time, and end."""
    task: TaskName | str | None = None
    """fashion, competition, or a .toml file; by default what image files are, else competition."""
    data: str = "auto"
    """Path or URI of image files, IDX files, CSV files or Parquet; auto: Fashion-MNIST."""
    storage: str = "results"
    """Where results go: a folder or s3://bucket/prefix."""
    images: Annotated[ImageFlags, tyro.conf.arg(name="")] = field(default_factory=ImageFlags)
    cluster: Annotated[Cluster, tyro.conf.arg(name="")] = _CLUSTER


def parse() -> Flags:
    return parse_flags(Flags, __doc__)


def run(flags: Flags) -> JobResult | None:
    grid, networks = check_flags(flags)
    files = read_files(grid.cells, networks)
    grid = grid.changed(files.named)
    from fmnist.cluster.resources import choose_cpus_per_worker
    from fmnist.comparison.estimate import print_estimate
    from fmnist.comparison.run import compare, run_specs
    from jobs.support.connect import ensure_ray, job_storage

    storage = job_storage(flags.storage, dry_run=flags.dry_run)
    dataset = load_data(flags, storage)
    grid = resolve_grid(grid, dataset.task, dataset.count_labelled())
    ensure_ray()
    workers = flags.base.workers
    cluster = flags.cluster
    if not cluster.gpu and cluster.cpus_per_worker is None:
        cluster = replace(cluster, cpus_per_worker=1)  # so that many runs train at once
    cpus = choose_cpus_per_worker(workers, workers, cluster)
    cluster = replace(cluster, cpus_per_worker=cpus)
    tried = grid.search.space.ends() if grid.search else grid.cells
    files = try_networks(files, tried, dataset, storage)
    config = saved_config(flags, files)
    runs = with_seeds(grid.cells, flags.seeds)
    specs = run_specs(dataset, runs, cluster, storage, command=command(), config=config)
    specs = [spec.with_files(files) for spec in specs]
    source = dataset.source
    del dataset  # its images are in the object store now
    if flags.dry_run:
        print_estimate(specs, grid)
        return None
    print(f"{len(grid.cells)} cells, {len(specs)} runs; data: {source}", flush=True)
    failures = None
    if grid.search:
        again = partial(specs_like, specs[0], config, files)
        specs, failures = search(flags, grid.search, again)
    manifest = compare(
        specs,
        name=comparison_name(flags),
        ablated=grid.ablated,
        early_stopping=flags.early_stopping,
        failures=failures,
        config=config,
        progress=show_runs(grid.labels, specs),
    )
    return print_comparison(storage, manifest, len(specs))


def specs_like(
    first: "RunSpec", config: "JobConfig", files: "NetworkFiles", runs: Sequence[Training]
) -> "list[RunSpec]":
    """Returns the specs of other runs on the same data."""
    return [first.with_training(run, config).with_files(files) for run in runs]


def search(
    flags: Flags, suggested: "OptunaSearch", make_specs: "SpecMaker"
) -> "tuple[list[RunSpec], dict[str, str]]":
    """Trains what is suggested; returns the specs of all runs and the reasons of failures."""
    from fmnist.comparison.rounds import train_in_rounds

    return train_in_rounds(
        suggested,
        make_specs,
        seeds=flags.seeds,
        early_stopping=flags.early_stopping,
        make_progress=partial(show_round, flags.trials),
    )


def show_runs(names: Sequence[str], specs: "Sequence[RunSpec]") -> "SweepProgress":
    """Returns what shows the runs; `names` are those of the cells, which each seed has in turn."""
    from fmnist.comparison.progress import SweepProgress

    return SweepProgress(
        {spec.id: f"{name} seed {spec.training.seed}" for name, spec in zip(cycle(names), specs)},
        {spec.id: spec.training.epochs for spec in specs},
    )


def show_round(trials: int, grid: Grid, specs: "Sequence[RunSpec]") -> "SweepProgress":
    """Says which of a search's cells come next, and returns what shows their runs."""
    new = len({replace(spec.training, seed=0) for spec in specs})
    count = len(grid.cells)
    print(f"cells {count - new + 1} to {count} of {trials}", flush=True)
    return show_runs(grid.labels[-new:], specs)


def check_flags(flags: Flags) -> "tuple[Grid, list[OwnNetwork]]":
    """Returns the grid and the user's networks; UserError lists all mistakes in the flags."""
    grids: list[Grid] = []
    networks: list[OwnNetwork] = []

    def read_grid() -> None:
        grids.append(find_grid(flags, flags.cluster))
        networks.extend(read_networks(grids[0].cells))

    together(
        read_grid,
        lambda: find_task(flags.task or DEFAULT_TASK),
        lambda: check_images(flags.images),
    )
    return grids[0], networks


def saved_config(flags: Flags, files: "NetworkFiles") -> "JobConfig":
    """Returns the configuration that gives the result again, also if a recipe is changed."""
    saved = replace(flags, axis=axes_with_recipe(flags))
    return config_with_files(job_config("compare", saved), files)


def load_data(flags: Flags, storage: "Storage") -> "Dataset":
    """Loads the data set, and decodes it before if it is image files."""
    from jobs.support.images import find_data

    task = find_task(flags.task) if flags.task else None
    return find_data(
        flags.data, task, flags.images, storage, default_task=DEFAULT_TASK, dry_run=flags.dry_run
    ).load()


def print_comparison(storage: "Storage", manifest: "Manifest", runs: int) -> JobResult:
    """Prints where a published comparison is; a run that has failed makes the job one that has."""
    from fmnist.comparison.facts import FACTS
    from fmnist.comparison.run import comparison_folder
    from fmnist.tracking.mlflow import tell_mlflow
    from jobs.support.results import file_place, print_cells, print_files

    print(f"comparison {manifest.id} is finished: {manifest.details['runs']} of {runs} runs")
    folder = comparison_folder(manifest.id)
    print_cells(storage.read(f"{folder}/{manifest.files[FACTS].path}"))
    page = print_files(storage, folder, manifest)
    tell_mlflow(storage, folder)
    print_path(page)
    summary = file_place(storage, folder, manifest, FACTS)
    if failed := manifest.details["failed"]:
        print(f"{failed} runs failed; the table says why", file=sys.stderr)
        return JobResult(outcome="failed", summary=summary, exit_code=FAILED)
    return JobResult(outcome="finished", summary=summary)


if __name__ == "__main__":
    launch(parse, run)
