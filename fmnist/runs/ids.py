"""What a run is called, and what is noted of it before it is published."""

import json
from dataclasses import asdict
from typing import get_type_hints

from fmnist.data.dataset import Dataset, labelled
from fmnist.errors import UserError
from fmnist.recipes import Cluster, Training, check, resolve_auto
from fmnist.storage.manifest import content_id
from fmnist.storage.open import Storage
from fmnist.storage.records import read_record
from fmnist.tasks import Task

BEGUN = "begun.json"
FORMAT = 1  # raised when the same configuration would train to other weights


def run_folder(run_id: str) -> str:
    """Where in the storage root a run lies."""
    return f"runs/{run_id}"


def run_id(task: Task, training: Training, fingerprint: str) -> str:
    """Follows from configuration and data alone: submitted again, a run finds itself.

    The fingerprint of the data set has its task in it. Runs were called so before they had the
    choice of `deterministic`, hence it counts only where it is not what it always was. A fraction
    that is given as a whole number (0 for 0.0) counts as the fraction, as the flags read it.
    """
    fractions = {name for name, kind in get_type_hints(Training).items() if kind is float}
    config = {
        name: float(value) if name in fractions else value
        for name, value in asdict(training).items()
    }
    if training.deterministic:
        del config["deterministic"]
    digest = content_id(FORMAT, config, fingerprint)
    return f"{task.name}-{training.architecture}-{digest}"


def begin(dataset: Dataset, training: Training, storage: Storage) -> None:
    """Notes what an unfinished run is of, for `check_resumed`; the first note stays."""
    folder = run_folder(run_id(dataset.task, training, dataset.fingerprint))
    note = {"config": asdict(training), "fingerprint": dataset.fingerprint}
    storage.create(f"{folder}/{BEGUN}", json.dumps(note, allow_nan=False).encode())


def check_resumed(
    run: str, dataset: Dataset, training: Training, cluster: Cluster, storage: Storage
) -> None:
    """Raises UserError unless this configuration and these data go on with that run."""
    check(training, cluster)
    training = resolve_auto(training, dataset.task, len(labelled(dataset)))
    if run == run_id(dataset.task, training, dataset.fingerprint):
        return
    fields: dict[str, type] = {"config": dict, "fingerprint": str}
    found = read_record(storage, f"{run_folder(run)}/{BEGUN}", fields, "a run's beginning")
    if found is None:
        raise UserError(f"{storage.uri}: found no run {run!r}, expected one that was begun")
    note = found[0]
    begun = (
        asdict(Training()) | note["config"]
    )  # a field that is newer than the run has its default
    problems = [
        f"{name} is {value}, but the run was begun with {begun[name]}"
        for name, value in asdict(training).items()
        if value != begun[name]
    ]
    if note["fingerprint"] != dataset.fingerprint:
        problems.append(
            f"the data at {dataset.source} has changed: found fingerprint {dataset.fingerprint}, "
            f"but the run was begun with {note['fingerprint']}"
        )
    raise UserError.of([f"run {run} can't go on: {problem}" for problem in problems])
