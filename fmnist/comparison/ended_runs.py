"""Reads how the runs of a comparison have ended: published, or stopped early."""

from collections.abc import Sequence

from fmnist.comparison.facts import ComparedRun
from fmnist.runs.published import read_history
from fmnist.storage.manifest import Manifest, read_manifest
from fmnist.training.spec import RunSpec
from fmnist.training.stopped_runs import StoppedRun, read_stopped


def ended_runs(specs: Sequence[RunSpec], early_stopping: bool) -> dict[str, ComparedRun]:
    """Returns the published runs by id, and after them those that were stopped early."""
    runs = {
        spec.id: _finished_run(spec, manifest)
        for spec in specs
        if (manifest := read_manifest(spec.storage, spec.folder))
    }
    if early_stopping:
        unfinished = {spec.folder: spec for spec in specs if spec.id not in runs}
        for folder, found in read_stopped(specs[0].storage, unfinished).items():
            runs[unfinished[folder].id] = _stopped_run(unfinished[folder], found)
    return runs


def _finished_run(spec: RunSpec, manifest: Manifest) -> ComparedRun:
    return ComparedRun(
        seed=spec.training.seed,
        id=spec.id,
        history=read_history(spec.storage, spec.folder, manifest),
        scores=manifest.details["scores"],
        parameters=manifest.details["parameters"],
        layers=manifest.details["layers"],
        hardware=manifest.details["hardware"],
    )


def _stopped_run(spec: RunSpec, found: StoppedRun) -> ComparedRun:
    """Returns a run with the scores of its last epoch: a stopped run was not evaluated."""
    last = found["history"][-1]
    return ComparedRun(
        seed=spec.training.seed,
        id=spec.id,
        stopped_at=last["epoch"],
        history=found["history"],
        scores={
            "train": {"loss": last["loss"], "accuracy": last["accuracy"]},
            "validation": {"loss": last["val_loss"], "accuracy": last["val_accuracy"]},
        },
        parameters=found["parameters"],
        layers=found["layers"],
    )
