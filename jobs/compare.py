"""Trains a grid of networks in parallel and puts them on one page.

    python -m jobs.compare --comparison architectures --epochs 10
    python -m jobs.compare --architecture cnn,resnet --axis batch=256,1024 --seeds 5 --dry-run
    python -m jobs.compare --recipe quick --ablate augmentation,schedule --seeds 5
    python -m jobs.compare --search random --trials 20 --range learning_rate=1e-4..1e-2:log

Named comparisons are the report's: architectures, activations, optimizers, and report, which is all
of them. Other axes multiply their cells. Started again, a comparison goes on where it was.
"""

import sys
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated

import tyro

from fmnist.comparison.grid.cells import Grid, resolve_grid, with_seeds
from fmnist.errors import together
from fmnist.run_settings import Cluster
from fmnist.tasks import find_task
from jobs.support.config import job_config
from jobs.support.flags import ImageFlags, check_images, command, parse_flags
from jobs.support.grid import GridFlags, axes_with_recipe, comparison_name, find_grid
from jobs.support.launch import FAILED, launch
from jobs.support.networks import config_with_files, read_files, read_networks, try_networks
from jobs.support.on_finish import JobResult

if TYPE_CHECKING:
    from fmnist.data.dataset import Dataset
    from fmnist.models.own_network import OwnNetwork
    from fmnist.storage.manifest import Manifest
    from fmnist.storage.open import Storage

DEFAULT_TASK = "competition"
# One CPU a worker, so that many runs train at once; few checkpoints, since epochs are short.
_CLUSTER = Cluster(cpus_per_worker=1, checkpoint_every=5, keep_checkpoints=1)


@dataclass(frozen=True, kw_only=True)
class Flags(GridFlags):
    config: str | None = None
    """TOML file of flags, local or s3://…; flags that are given here win."""
    quiet: bool = False
    """Print nothing but warnings, errors and where the result is."""
    dry_run: bool = False
    """Print the cells, the resources and an estimate of the time, and end."""
    on_finish: str | None = None
    """Shell command that is called when the job has ended, also if it has failed."""
    task: str | None = None
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
    grid = replace(grid, cells=[files.named(cell) for cell in grid.cells])
    from fmnist.cluster.resources import choose_cpus_per_worker
    from fmnist.comparison.estimate import print_estimate
    from fmnist.comparison.progress import SweepProgress
    from fmnist.comparison.run import compare, run_specs
    from jobs.support.connect import ensure_ray, job_storage

    storage = job_storage(flags.storage, dry_run=flags.dry_run)
    dataset = load_data(flags, storage)
    grid = resolve_grid(grid, dataset.task, dataset.count_labelled())
    runs = with_seeds(grid.cells, flags.seeds)
    ensure_ray()
    workers = flags.base.workers
    threads = choose_cpus_per_worker(workers, workers, flags.cluster)
    cluster = replace(flags.cluster, cpus_per_worker=threads)
    files = try_networks(files, grid.cells, dataset, storage)
    written = job_config("compare", replace(flags, axis=axes_with_recipe(flags)))
    config = config_with_files(written, files)
    specs = run_specs(dataset, runs, cluster, storage, command=command(), config=config)
    specs = [spec.with_files(files) for spec in specs]
    del dataset  # its images are in the object store now
    if flags.dry_run:
        print_estimate(specs, grid)
        return None
    names = [f"{name} seed {seed}" for seed in range(flags.seeds) for name in grid.names]
    manifest = compare(
        specs,
        name=comparison_name(flags),
        ablated=grid.ablated,
        early_stopping=flags.early_stopping,
        config=config,
        progress=SweepProgress(
            {spec.id: name for spec, name in zip(specs, names, strict=True)},
            {spec.id: spec.training.epochs for spec in specs},
        ),
    )
    return print_comparison(storage, manifest, len(specs))


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


def load_data(flags: Flags, storage: "Storage") -> "Dataset":
    """Loads the data set, and decodes it before if it is image files."""
    from jobs.support.images import find_data

    task = find_task(flags.task) if flags.task else None
    return find_data(
        flags.data, task, flags.images, storage, default_task=DEFAULT_TASK, dry_run=flags.dry_run
    ).load()


def print_comparison(storage: "Storage", manifest: "Manifest", runs: int) -> JobResult:
    """Prints where a published comparison is; a run that has failed makes the job one that has."""
    from fmnist.comparison.run import FACTS, comparison_folder
    from fmnist.tracking.mlflow import tell_mlflow
    from jobs.support.results import file_place, print_cells, print_files

    print(f"comparison {manifest.id} is finished: {manifest.details['runs']} of {runs} runs")
    folder = comparison_folder(manifest.id)
    print_cells(storage.read(f"{folder}/{manifest.files[FACTS].path}"))
    print_files(storage, folder, manifest)
    tell_mlflow(storage, folder)
    summary = file_place(storage, folder, manifest, FACTS)
    if failed := manifest.details["failed"]:
        print(f"{failed} runs failed; the table says why", file=sys.stderr)
        return JobResult(outcome="failed", summary=summary, exit_code=FAILED)
    return JobResult(outcome="finished", summary=summary)


if __name__ == "__main__":
    launch(parse, run)
