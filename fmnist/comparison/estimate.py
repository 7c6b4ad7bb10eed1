"""Estimates how long a comparison takes, for a dry run."""

from collections.abc import Sequence

import ray

from fmnist.cluster.progress_bar import format_duration
from fmnist.comparison.grid.cells import Grid
from fmnist.comparison.grid.settings import WITHOUT
from fmnist.comparison.sweep import concurrency
from fmnist.models.architectures import build, flops
from fmnist.models.own_network import OwnNetwork
from fmnist.tasks import Task
from fmnist.training.spec import RunSpec

FLOPS_PER_CPU = 120e9  # float32 operations a second on one CPU core; a rough figure


def print_estimate(specs: list[RunSpec], grid: Grid) -> None:
    """Prints the cells, the resources of their runs and the time that all of them may take."""
    first, seeds = specs[0], len(specs) // len(grid.cells)
    workers = first.training.workers
    at_once, cpus = concurrency(first), first.cluster.cpus_per_worker or 1
    # It requests no CPUs, so that the autoscaler starts no node for an estimate.
    task = ray.remote(num_cpus=0)(training_flops)
    networks = {
        spec.training.architecture: spec.network or spec.training.architecture
        for spec in specs[: len(grid.cells)]
    }
    found = ray.get(task.remote(first.task, list(networks.values())))
    costs = dict(zip(networks, found, strict=True))
    total = 0.0
    print(f"  {'cell':<40} {'seeds × epochs':>16}  {'time':>9}")
    for cell, name in zip(grid.cells, grid.labels, strict=True):
        images = first.splits["train"].size * cell.epochs * seeds
        seconds = costs[cell.architecture] * images / (FLOPS_PER_CPU * cpus * int(workers))
        total += seconds
        each = f"{seeds} × {cell.epochs} epochs"
        print(f"  {name:<40} {each:>16}  {format_duration(seconds):>9}")
    for name in grid.ablated:
        print(f"without {name.replace('_', ' ')}: {WITHOUT[name]}")
    left = grid.search.trials - len(grid.cells) if grid.search else 0
    if left:
        print(f"then {left} cells more, which follow from the accuracies of those before them")
    print(
        f"cells: {len(grid.cells)}, runs: {len(specs)}, at once: {at_once}, "
        f"workers of each: {workers}, CPUs of a worker: {cpus}"
    )
    time = format_duration(total / max(1, min(at_once, len(specs))))
    print(f"about {time} {'for these' if left else 'in all'}, on CPUs (hours:minutes:seconds)")


def training_flops(task: Task, networks: Sequence[OwnNetwork | str]) -> list[int]:
    """Returns the operations to train each network, ours by its name, on one image.

    Call it in a process of its own, as it imports TensorFlow.
    """
    costs = []
    for each in networks:
        name, own = (each, None) if isinstance(each, str) else (each.name, each)
        model = build(name, task, activation="relu", precision="float32", own=own)
        costs.append(flops(model))
    return costs
