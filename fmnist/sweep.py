"""Many runs at once on Ray Tune, as many as the cluster has room for.

A trial is a run like any other, published by its id in the storage. So a sweep that was killed goes
on by being started again: published runs are left out, unfinished ones go on from their last
checkpoint; Tune's own records are not needed, and lie in a temporary folder.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import ray
from ray import tune
from ray.tune.integration.ray_train import TuneReportCallback

from fmnist.assignment import Assignment
from fmnist.capacity import ON_THE_HEAD, here, room
from fmnist.drafts import scratch
from fmnist.early_stopping import Referee, records
from fmnist.errors import UserError
from fmnist.fitting import fit
from fmnist.manifest import read_manifest
from fmnist.progress import new_board
from fmnist.published import history_of
from fmnist.recipes import least_and_most
from fmnist.shared_folder import marked

TRIES = 1  # of a trial that failed, beside those of its workers


def concurrency(assignment: Assignment) -> int:
    """How many such runs the cluster holds at once."""
    cpus = assignment.cluster.cpus_per_worker or 1
    return room(cpus, assignment.cluster) // least_and_most(assignment.training)[1]


def sweep(
    assignments: Sequence[Assignment],
    *,
    early_stopping: bool,
    callbacks: Sequence[tune.Callback] = (),
) -> dict[str, str]:
    """Runs what has not come to an end; returns, by run id, why a run has no result then.

    The assignments differ in architecture and the like, but not in resources. With early stopping,
    hopeless runs end early; what is left of them is told by `fmnist.early_stopping.records`.
    """
    ended = _histories(assignments, early_stopping)
    waiting = {job.id: job for job in assignments if job.id not in ended}
    if not waiting:
        return {}
    first = next(iter(waiting.values()))
    if early_stopping:
        referee = ray.remote(num_cpus=0, scheduling_strategy=here())(Referee).remote(
            first.training.epochs, ended
        )
        waiting = {run: replace(job, referee=referee) for run, job in waiting.items()}
    # A trial only waits for its workers, which hold CPUs and GPUs. It has to ask for something, and
    # the head is the node that stays.
    with scratch() as folder, marked(first.storage) as mark:
        waiting = {run: replace(job, mark=mark) for run, job in waiting.items()}
        results = tune.Tuner(
            tune.with_resources(tune.with_parameters(_trial, waiting=waiting), ON_THE_HEAD),
            param_space={"run": tune.grid_search(list(waiting))},
            tune_config=tune.TuneConfig(
                max_concurrent_trials=max(1, concurrency(first)),
            ),
            run_config=tune.RunConfig(
                name="sweep",
                storage_path=str(folder),
                failure_config=tune.FailureConfig(max_failures=TRIES),
                callbacks=list(callbacks),
                verbose=0,
            ),
        ).fit()
        return _failures(results)


def _histories(
    jobs: Sequence[Assignment], early_stopping: bool
) -> dict[str, list[dict[str, float]]]:
    """Of the runs that came to an end, by run id; of published ones only if that matters."""
    storage, found = jobs[0].storage, {}
    stopped = records(storage, [job.folder for job in jobs]) if early_stopping else {}
    for job in jobs:
        if manifest := read_manifest(storage, job.folder):
            found[job.id] = history_of(storage, job.folder, manifest) if early_stopping else []
        elif job.folder in stopped:
            found[job.id] = stopped[job.folder]["history"]
    return found


def _trial(config: dict[str, str], waiting: dict[str, Assignment]) -> None:
    ending = fit(replace(waiting[config["run"]], board=new_board()), (TuneReportCallback(),))
    if ending.mistake:
        raise UserError(ending.mistake)


def _failures(results: Any) -> dict[str, str]:
    return {result.config["run"]: _reason(result.error) for result in results if result.error}


def _reason(error: Exception) -> str:
    """The last line of a report, which is what was raised."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
