"""Many runs at once on Ray Tune, as many as the cluster has room for.

A trial is a run like any other, published by its id in the storage. So a sweep that was killed goes
on by being started again: published runs are left out, unfinished ones go on from their last
checkpoint; Tune's own records are not needed, and lie in a temporary folder.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import ray
from ray import tune
from ray.tune.integration.ray_train import TuneReportCallback

from fmnist.capacity import room
from fmnist.errors import UserError
from fmnist.manifest import read_manifest
from fmnist.progress import Board
from fmnist.training import Assignment, fit

# A trial only waits for its workers, which hold CPUs and GPUs. It has to ask for something, and the
# head is the node that stays.
ON_THE_HEAD = {"node:__internal_head__": 0.001}
TRIES = 1  # of a trial that failed, beside those of its workers


def concurrency(assignment: Assignment) -> int:
    """How many such runs the cluster holds at once."""
    cpus = assignment.cluster.cpus_per_worker or 1
    return room(cpus, assignment.cluster) // assignment.training.workers


def sweep(
    assignments: Sequence[Assignment], *, callbacks: Sequence[tune.Callback] = ()
) -> dict[str, str]:
    """Runs what is not published yet; returns, by run id, why a run has no result in the end.

    The assignments differ in architecture and the like, but not in resources.
    """
    waiting = {
        assignment.id: assignment
        for assignment in assignments
        if read_manifest(assignment.storage, assignment.folder) is None
    }
    if not waiting:
        return {}
    first = next(iter(waiting.values()))
    with tempfile.TemporaryDirectory(prefix="fmnist-") as records:
        results = tune.Tuner(
            tune.with_resources(tune.with_parameters(_trial, waiting=waiting), ON_THE_HEAD),
            param_space={"run": tune.grid_search(list(waiting))},
            tune_config=tune.TuneConfig(
                max_concurrent_trials=max(1, concurrency(first)),
            ),
            run_config=tune.RunConfig(
                name="sweep",
                storage_path=records,
                failure_config=tune.FailureConfig(max_failures=TRIES),
                callbacks=list(callbacks),
                verbose=0,
            ),
        ).fit()
        return _failures(results, waiting)


def _trial(config: dict[str, str], waiting: dict[str, Assignment]) -> None:
    board = ray.remote(num_cpus=0)(Board).remote()
    mistake = fit(replace(waiting[config["run"]], board=board), (TuneReportCallback(),))
    if mistake:
        raise UserError(mistake)


def _failures(results: Any, waiting: dict[str, Assignment]) -> dict[str, str]:
    return {
        run: _reason(result.error)
        for result in results
        if read_manifest(waiting[run := result.config["run"]].storage, waiting[run].folder) is None
    }


def _reason(error: Exception | None) -> str:
    """The last line of a report, which is what was raised."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
