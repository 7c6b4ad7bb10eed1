"""Trains a grid of networks in parallel and puts them on one page.

    python -m jobs.compare --comparison architectures --epochs 10
    python -m jobs.compare --architecture cnn,resnet --optimizer adam,sgd --seeds 5 --dry-run

Named comparisons are the report's: architectures, activations, optimizers, and report, which is all
of them. Axes given freely replace a named comparison. Started again, it goes on where it was.
"""

import sys
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated

import tyro

from fmnist.comparison.grid import (
    FIELDS,
    cell_name,
    check_size,
    expand,
    read_axes,
    with_seeds,
)
from fmnist.errors import UserError, together
from fmnist.recipes import RECIPES
from fmnist.run_settings import Cluster, Precision, Training, check, resolve_auto
from fmnist.tasks import find_task
from jobs.support.config import job_config
from jobs.support.flags import ImageFlags, check_images, command, parse_flags
from jobs.support.launch import FAILED, launch
from jobs.support.on_finish import JobResult

if TYPE_CHECKING:
    from fmnist.storage.manifest import Manifest
    from fmnist.storage.open import Storage

DEFAULT_TASK = "competition"
# One CPU a worker, so that many runs train at once; few checkpoints, since epochs are short.
_CLUSTER = Cluster(cpus_per_worker=1, checkpoint_every=5, keep_checkpoints=1)


@dataclass(frozen=True, kw_only=True)
class Flags:
    config: str | None = None
    """TOML file of flags, local or s3://…; flags that are given here win."""
    comparison: str | None = None
    """architectures, activations, optimizers or report."""
    architecture: str = ""
    """Axis: names with commas between them."""
    activation: str = ""
    """Axis."""
    optimizer: str = ""
    """Axis."""
    learning_rate: str = ""
    """Axis: numbers with commas between them."""
    seeds: int = 1
    """Runs of each cell, with seeds 0, 1, …"""
    epochs: int = RECIPES["report"].epochs
    """Epochs of every cell."""
    batch: int = RECIPES["report"].batch
    """Images in a step over all workers of a run together."""
    precision: Precision = RECIPES["report"].precision
    """bfloat16: mixed with float32; auto: bfloat16 where the hardware has it, else float32."""
    validation: float = RECIPES["report"].validation
    """Share of the training examples held out."""
    deterministic: bool = RECIPES["report"].deterministic
    """Kernels that add in one order, so that a run has the same bytes again."""
    workers: int = 1
    """Workers of each run; a fixed number, so that runs can be compared."""
    max_cells: int = 200
    """A larger grid is refused."""
    early_stopping: bool = False
    """End hopeless runs early (ASHA): quicker, but no longer a fair comparison."""
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
    cells = check_flags(flags)
    from fmnist.cluster.resources import choose_cpus_per_worker
    from fmnist.comparison.estimate import print_estimate
    from fmnist.comparison.progress import SweepProgress
    from fmnist.comparison.run import compare, run_specs
    from fmnist.data.dataset import labelled
    from jobs.support.connect import ensure_ray, job_storage
    from jobs.support.images import find_data

    storage = job_storage(flags.storage, dry_run=flags.dry_run)
    task = find_task(flags.task) if flags.task else None
    dataset = find_data(
        flags.data, task, flags.images, storage, default_task=DEFAULT_TASK, dry_run=flags.dry_run
    ).load()
    examples, task = len(labelled(dataset)), dataset.task
    together(*(lambda cell=cell: resolve_auto(cell, task, examples) for cell in cells))
    runs = with_seeds(cells, flags.seeds)
    ensure_ray()
    threads = choose_cpus_per_worker(flags.workers, flags.workers, flags.cluster)
    cluster = replace(flags.cluster, cpus_per_worker=threads)
    config = job_config("compare", flags)
    specs = run_specs(dataset, runs, cluster, storage, command=command(), config=config)
    del dataset  # its images are in the object store now
    if flags.dry_run:
        print_estimate(specs, cells)
        return None
    names = {spec.id: f"{cell_name(spec.training)} seed {spec.training.seed}" for spec in specs}
    manifest = compare(
        specs,
        name=flags.comparison or "custom",
        early_stopping=flags.early_stopping,
        config=config,
        progress=SweepProgress(names, flags.epochs),
    )
    return print_comparison(storage, manifest, len(specs))


def check_flags(flags: Flags) -> list[Training]:
    """Returns the cells of the grid; raises UserError that lists all mistakes in the flags."""
    together(
        lambda: find_cells(flags),
        lambda: find_task(flags.task or DEFAULT_TASK),
        lambda: check_images(flags.images),
    )
    return find_cells(flags)


def print_comparison(storage: "Storage", manifest: "Manifest", runs: int) -> JobResult:
    """Prints where a published comparison is; a run that has failed makes the job one that has."""
    from fmnist.comparison.run import FACTS, comparison_folder
    from fmnist.tracking.mlflow import tell_mlflow
    from jobs.support.results import file_place, print_files

    print(f"comparison {manifest.id} is finished: {manifest.details['runs']} of {runs} runs")
    folder = comparison_folder(manifest.id)
    print_files(storage, folder, manifest)
    tell_mlflow(storage, folder)
    summary = file_place(storage, folder, manifest, FACTS)
    if failed := manifest.details["failed"]:
        print(f"{failed} runs failed; the table says why", file=sys.stderr)
        return JobResult(outcome="failed", summary=summary, exit_code=FAILED)
    return JobResult(outcome="finished", summary=summary)


def find_cells(flags: Flags) -> list[Training]:
    """Returns the cells of the grid; raises UserError that lists all mistakes in them."""
    base = replace(
        RECIPES["report"],
        epochs=flags.epochs,
        batch=flags.batch,
        precision=flags.precision,
        validation=flags.validation,
        deterministic=flags.deterministic,
        workers=flags.workers,
    )
    axes, problems = read_axes(flags.comparison, {field: getattr(flags, field) for field in FIELDS})
    cells = expand(axes, base)
    if flags.early_stopping and not flags.validation:
        problems.append("early stopping judges by validation loss, but validation is 0")
    together(
        lambda: UserError.raise_if(problems),
        lambda: check(base, flags.cluster),
        *(lambda cell=cell: check(cell, flags.cluster) for cell in cells),
        lambda: check_size(cells, flags.seeds, flags.max_cells),
    )
    return cells


if __name__ == "__main__":
    launch(parse, run)
