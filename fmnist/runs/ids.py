"""Ids and folders of runs, and the description of a run that is not finished yet."""

import json
from dataclasses import asdict
from typing import get_args, get_type_hints

from fmnist.data.dataset import Dataset
from fmnist.data.streaming.dataset import ShardedDataset
from fmnist.errors import UserError
from fmnist.run_settings import Architecture, Cluster, Training, check, resolve_auto
from fmnist.storage.manifest import content_id
from fmnist.storage.open import Storage
from fmnist.storage.records import read_record
from fmnist.tasks import Task

BEGUN = "begun.json"
# Raised when the same configuration would train to other weights, or a setting's default changes.
FORMAT = 4


def run_folder(run_id: str) -> str:
    """Folder of a run in the storage root."""
    return f"runs/{run_id}"


def run_id(task: Task, training: Training, fingerprint: str) -> str:
    """Returns the id that follows from configuration and data, so that a run is found again.

    The fingerprint includes the task. A setting that has its default is no part of the id, so that
    a new setting leaves the ids of older runs as they are. A fraction that is given as a whole
    number (0 for 0.0) counts as the fraction, as the flags read it.
    """
    fractions = {name for name, kind in get_type_hints(Training).items() if kind is float}
    defaults = asdict(Training())
    config = {
        name: float(value) if name in fractions else value
        for name, value in asdict(training).items()
        if value != defaults[name]
    }
    digest = content_id(FORMAT, config, fingerprint)
    return f"{task.name}-{training.architecture}-{digest}"


def parse_run_id(run: str) -> tuple[str, str]:
    """Returns the names of the task and of the network in an id; (run, "") if it has none.

    Both names may have hyphens, so a known network is the longest name that the id ends with; of an
    unknown one, and of a user's own such as `my_net.0123456789ab`, the name has no hyphens.
    """
    task_and_network, _, _ = run.rpartition("-")
    for network in sorted(get_args(Architecture), key=len, reverse=True):
        if task_and_network.endswith(f"-{network}"):
            return task_and_network.removesuffix(f"-{network}"), network
    task, _, network = task_and_network.rpartition("-")
    return (task, network) if task else (run, "")


def write_begun(dataset: Dataset | ShardedDataset, training: Training, storage: Storage) -> None:
    """Writes configuration and fingerprint of a run that starts; `check_resumed` compares them.

    If the run was begun before, its file stays as it is.
    """
    folder = run_folder(run_id(dataset.task, training, dataset.fingerprint))
    described = {"config": asdict(training), "fingerprint": dataset.fingerprint}
    storage.create(f"{folder}/{BEGUN}", json.dumps(described, allow_nan=False).encode())


def check_resumed(
    run: str,
    dataset: Dataset | ShardedDataset,
    training: Training,
    cluster: Cluster,
    storage: Storage,
) -> None:
    """Raises UserError unless this configuration and these data are those of the run."""
    check(training, cluster)
    training = resolve_auto(training, dataset.task, dataset.count_labelled())
    if run == run_id(dataset.task, training, dataset.fingerprint):
        return
    fields: dict[str, type] = {"config": dict, "fingerprint": str}
    found = read_record(storage, f"{run_folder(run)}/{BEGUN}", fields, "a run's beginning")
    if found is None:
        raise UserError(f"{storage.uri}: found no run {run!r}, expected one that was begun")
    described = found[0]
    # A setting that is newer than the run gets its default.
    begun = asdict(Training()) | described["config"]
    problems = [
        f"{name} is {value}, but the run was begun with {begun[name]}"
        for name, value in asdict(training).items()
        if value != begun[name]
    ]
    if described["fingerprint"] != dataset.fingerprint:
        problems.append(
            f"the data at {dataset.source} has changed: found fingerprint {dataset.fingerprint}, "
            f"but the run was begun with {described['fingerprint']}"
        )
    if not problems:
        problems = ["another version of fmnist began it; without --resume, this one trains it anew"]
    raise UserError.of([f"run {run} can't go on: {problem}" for problem in problems])
