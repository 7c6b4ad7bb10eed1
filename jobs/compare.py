"""Trains a grid of networks in parallel and puts them on one page.

    python -m jobs.compare --comparison architectures --epochs 10
    python -m jobs.compare --architecture cnn,resnet --optimizer adam,sgd --seeds 5 --dry-run

Named comparisons are the report's: architectures, activations, optimizers, and report, which is all
of them. Axes given freely replace a named comparison. Started again, it goes on where it was.
"""

import sys
from dataclasses import dataclass, replace
from typing import Annotated, Any

import ray
import tyro

from fmnist.cluster.resources import choose_cpus_per_worker
from fmnist.comparison.grid import (
    COMPARISONS,
    FIELDS,
    Axes,
    cell_name,
    check_size,
    expand,
    with_seeds,
)
from fmnist.comparison.run import compare, comparison_folder, run_specs
from fmnist.comparison.sweep import concurrency
from fmnist.comparison.trial_table import TrialTable
from fmnist.data.dataset import labelled
from fmnist.data.load import load
from fmnist.errors import UserError, together
from fmnist.models.architectures import build, flops
from fmnist.recipes import (
    RECIPES,
    Architecture,
    Cluster,
    Precision,
    Training,
    check,
    resolve_auto,
)
from fmnist.tasks import Task, find_task
from fmnist.training.spec import RunSpec
from jobs.flags import command, parse_flags
from jobs.launch import job_storage, launch, print_files, start_ray

FAILED = 1  # exit code: some runs have no result
RATE = (
    120e9  # operations a second on one CPU core in float32: a rough figure, for the estimate only
)


@dataclass(frozen=True, kw_only=True)
class Flags:
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
    """Images in a step over all workers of a trial together."""
    precision: Precision = RECIPES["report"].precision
    """bfloat16: mixed with float32; auto: bfloat16 where the hardware has it, else float32."""
    validation: float = RECIPES["report"].validation
    """Share of the training examples held out."""
    deterministic: bool = RECIPES["report"].deterministic
    """Kernels that add in one order, so that a trial has the same bytes again."""
    workers: int = 1
    """Workers of each trial; a fixed number, so that trials can be compared."""
    max_cells: int = 200
    """A larger grid is refused."""
    early_stopping: bool = False
    """End hopeless runs early (ASHA): quicker, but no longer a fair comparison."""
    dry_run: bool = False
    """Print the cells, the resources and an estimate of the time, and end."""
    task: str = "competition"
    """fashion, competition, or a task file that ends in .toml."""
    data: str = "auto"
    """Path or URI of IDX files, the competition's CSV files or Parquet; auto: Fashion-MNIST."""
    storage: str = "results"
    """Where results go: a folder or s3://bucket/prefix."""
    cluster: Annotated[Cluster, tyro.conf.arg(name="")]


def parse() -> Flags:
    # A CPU a worker, so that many trials run at once; and few checkpoints, since epochs are short.
    default = Flags(cluster=Cluster(cpus_per_worker=1, checkpoint_every=5, keep_checkpoints=1))
    return parse_flags(Flags, __doc__, default)


def run(flags: Flags) -> None:
    together(lambda: find_cells(flags), lambda: find_task(flags.task))
    cells = find_cells(flags)
    storage = job_storage(flags.storage, dry_run=flags.dry_run)
    dataset = load(find_task(flags.task), flags.data)
    examples = len(labelled(dataset))
    together(*(lambda cell=cell: resolve_auto(cell, dataset.task, examples) for cell in cells))
    runs = with_seeds(cells, flags.seeds)
    start_ray()
    threads = choose_cpus_per_worker(flags.workers, flags.workers, flags.cluster)
    cluster = replace(flags.cluster, cpus_per_worker=threads)
    jobs = run_specs(dataset, runs, cluster, storage, command=command())
    if flags.dry_run:
        return print_plan(jobs, cells, flags)
    names = {job.id: f"{cell_name(job.training)} seed {job.training.seed}" for job in jobs}
    manifest = compare(
        jobs,
        name=flags.comparison or "custom",
        early_stopping=flags.early_stopping,
        shown=TrialTable(names, flags.epochs),
    )
    print(f"comparison {manifest.id} is finished: {manifest.details['runs']} of {len(jobs)} runs")
    print_files(storage, comparison_folder(manifest.id), manifest)
    if failed := manifest.details["failed"]:
        print(f"{failed} runs failed; the table says why", file=sys.stderr)
        sys.exit(FAILED)


def find_cells(flags: Flags) -> list[Training]:
    """The grid's cells; UserError that lists all that is wrong with them and the settings."""
    base = replace(
        RECIPES["report"],
        epochs=flags.epochs,
        batch=flags.batch,
        precision=flags.precision,
        validation=flags.validation,
        deterministic=flags.deterministic,
        workers=flags.workers,
    )
    axes, problems = _axes(flags)
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


def _axes(flags: Flags) -> tuple[tuple[Axes, ...], list[str]]:
    """What to expand, as far as it could be read, and what could not."""
    values = {field: getattr(flags, field) for field in FIELDS}
    given = {field: text for field, text in values.items() if text}
    if not given:
        name = flags.comparison or "report"
        if name in COMPARISONS:
            return COMPARISONS[name], []
        return (), [f"unknown comparison {name!r}: expected one of {', '.join(COMPARISONS)}"]
    problems = []
    if flags.comparison:
        problems.append(
            f"found --comparison {flags.comparison} and the axes {', '.join(given)}, expected one "
            "or the other"
        )
    found: dict[str, Any] = {}
    for field, text in given.items():
        try:
            found[field] = tuple(_axis(field, text))
        except UserError as error:
            problems += error.problems
    return (Axes(**found),), problems


def _axis(field: str, text: str) -> list[str] | list[float]:
    entries = [entry.strip() for entry in text.split(",")]
    if not all(entries):
        raise UserError(f"{field} is {text!r}, expected values with commas between them")
    if field != "learning_rate":
        return entries
    try:
        return [float(entry) for entry in entries]
    except ValueError as error:
        raise UserError(f"learning_rate is {text!r}, expected numbers") from error


def print_plan(jobs: list[RunSpec], cells: list[Training], flags: Flags) -> None:
    """Prints what would run, and how long it might take."""
    first, seeds, workers = jobs[0], flags.seeds, flags.workers
    at_once, cpus = concurrency(first), first.cluster.cpus_per_worker or 1
    # Without CPUs, so that no node is started to answer this.
    task = ray.remote(num_cpus=0)(_costs)
    costs = ray.get(task.remote(first.task, [cell.architecture for cell in cells]))
    images = first.splits["train"].size * first.training.epochs * seeds
    total = 0.0
    for cell, cost in zip(cells, costs, strict=True):
        seconds = cost * images / (RATE * cpus * workers)
        total += seconds
        print(f"{cell_name(cell):<40} {seeds} × {first.training.epochs} epochs, {seconds:.0f} s")
    minutes = total / max(1, at_once) / 60
    print(
        f"{len(cells)} cells, {len(jobs)} runs of {workers} workers with {cpus} "
        f"CPUs, {at_once} at once: about {minutes:.0f} minutes on CPUs"
    )


def _costs(task: Task, architectures: list[Architecture]) -> list[int]:
    """Operations to train on one image; in a process of its own, since it brings TensorFlow."""
    return [
        flops(build(name, task, activation="relu", precision="float32")) for name in architectures
    ]


if __name__ == "__main__":
    launch(parse, run)
