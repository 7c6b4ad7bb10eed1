"""Many runs at once on Ray Tune, as many as the cluster has room for.

A trial is a run like any other, published by its id in the storage. So a sweep that was killed goes
on by being started again: published runs are left out, unfinished ones go on from their last
checkpoint; Tune's own records are not needed, and lie in a temporary folder.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray import tune
from ray.tune.integration.ray_train import TuneReportCallback
from ray.tune.schedulers import ASHAScheduler

from fmnist.errors import UserError
from fmnist.manifest import read_manifest
from fmnist.progress import Board
from fmnist.training import Assignment, fit, room

TRIES = 1  # of a trial that failed, beside those of its workers
FIRST_RUNG = 1 / 9  # of all epochs: ASHA stops nothing before


@dataclass(frozen=True, kw_only=True)
class Unfinished:
    """A run that has no result: it failed for a reason, or was stopped early after an epoch."""

    reason: str | None = None
    stopped_at: int | None = None


def concurrency(assignment: Assignment) -> int:
    """How many such runs the cluster holds at once."""
    cpus = assignment.cluster.cpus_per_worker or 1
    return room(cpus, assignment.cluster) // assignment.training.workers


def sweep(
    assignments: Sequence[Assignment],
    *,
    early_stopping: bool,
    callbacks: Sequence[tune.Callback] = (),
) -> dict[str, Unfinished]:
    """Runs what is not published yet; returns, by run id, what has no result in the end.

    The assignments differ in architecture and the like, but not in resources. With `early_stopping`
    ASHA (Li et al., arXiv:1810.05934) ends the runs of higher validation loss before the others.
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
            # A trial's workers hold its resources; the trial itself only waits for them.
            tune.with_resources(tune.with_parameters(_trial, waiting=waiting), {"CPU": 0}),
            param_space={"run": tune.grid_search(list(waiting))},
            tune_config=tune.TuneConfig(
                max_concurrent_trials=max(1, concurrency(first)),
                scheduler=_asha(first.training.epochs) if early_stopping else None,
            ),
            run_config=tune.RunConfig(
                name="sweep",
                storage_path=records,
                failure_config=tune.FailureConfig(max_failures=TRIES),
                callbacks=list(callbacks),
                verbose=0,
            ),
        ).fit()
        return _unfinished(results, waiting)


def _trial(config: dict[str, str], waiting: dict[str, Assignment]) -> None:
    board = ray.remote(num_cpus=0)(Board).remote()
    mistake = fit(replace(waiting[config["run"]], board=board), (TuneReportCallback(),))
    if mistake:
        raise UserError(mistake)


def _asha(epochs: int) -> ASHAScheduler:
    return ASHAScheduler(
        time_attr="epoch",
        metric="val_loss",
        mode="min",
        max_t=epochs,
        grace_period=max(1, round(epochs * FIRST_RUNG)),
    )


def _unfinished(results: Any, waiting: dict[str, Assignment]) -> dict[str, Unfinished]:
    found = {}
    for result in results:
        assignment = waiting[result.config["run"]]
        if read_manifest(assignment.storage, assignment.folder):
            continue
        if result.error:
            found[assignment.id] = Unfinished(reason=_reason(result.error))
        else:
            found[assignment.id] = Unfinished(stopped_at=int(result.metrics["epoch"]))
    return found


def _reason(error: Exception) -> str:
    """The last line of a report, which is what was raised."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
