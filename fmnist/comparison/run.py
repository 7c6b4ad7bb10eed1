"""A comparison: cells trained with several seeds, told apart on validation, put on one page."""

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow.parquet as pq

from fmnist.cluster.remote import predict_remotely
from fmnist.comparison.grid import FIELDS, cell_name
from fmnist.comparison.page import (
    Evidence,
    comparison_markdown,
    comparison_page,
    comparison_table,
)
from fmnist.comparison.ranking import best_cell
from fmnist.comparison.sweep import sweep
from fmnist.comparison.trial_table import TrialTable
from fmnist.data.dataset import Dataset
from fmnist.errors import UserError
from fmnist.recipes import Cluster, Training
from fmnist.runs.evaluation import evaluate
from fmnist.runs.published import open_model, read_history
from fmnist.storage.atomic import temporary_folder
from fmnist.storage.manifest import (
    Manifest,
    content_id,
    delete_other_attempts,
    publish,
    read_manifest,
    versions,
)
from fmnist.storage.open import Storage
from fmnist.training.spec import RunSpec, put_splits
from fmnist.training.stopped_runs import StoppedRun, read_stopped

SIZE = ("parameters", "layers")


def comparison_folder(comparison_id: str) -> str:
    """Where in the storage root a comparison lies."""
    return f"comparisons/{comparison_id}"


def run_specs(
    dataset: Dataset, runs: Sequence[Training], cluster: Cluster, storage: Storage, *, command: str
) -> list[RunSpec]:
    """The runs of a comparison; the data set lies once in the object store for all of them."""
    splits = put_splits(dataset, runs[0].validation)
    return [
        RunSpec.of(dataset, run, cluster, storage, command=command, splits=splits) for run in runs
    ]


def compare(
    jobs: Sequence[RunSpec],
    *,
    name: str,
    early_stopping: bool = False,
    shown: TrialTable | None = None,
) -> Manifest:
    """Trains what is missing, and publishes the table, the page and what they are made of.

    The id of the result follows from the runs and what became of them, so that a comparison in
    which a run failed can be started again.
    """
    storage = jobs[0].storage
    failures = sweep(jobs, early_stopping=early_stopping, shown=shown)
    manifests = {
        job.id: manifest for job in jobs if (manifest := read_manifest(storage, job.folder))
    }
    runs = {job.id: _finished_run(job, manifests[job.id]) for job in jobs if job.id in manifests}
    if early_stopping:
        unfinished = {job.folder: job for job in jobs if job.id not in manifests}
        for folder, found in read_stopped(storage, unfinished).items():
            runs[unfinished[folder].id] = _stopped_run(unfinished[folder], found)
    _check_all_ended(jobs, {*runs, *failures})
    facts = _facts(jobs, runs, failures, name)
    prefix = comparison_folder(facts["id"])
    if published := read_manifest(storage, prefix):
        delete_other_attempts(storage, prefix)  # of what a job left that died while it published
        return published
    best = best_cell(facts)
    evidence = _evidence(jobs, best) if best else None
    with temporary_folder() as files:
        page = comparison_page(facts, evidence)
        (files / "report.html").write_text(page, encoding="utf-8")
        (files / "results.md").write_text(comparison_markdown(facts), encoding="utf-8")
        (files / "comparison.json").write_text(json.dumps(facts, indent=1, allow_nan=False))
        pq.write_table(comparison_table(facts), files / "results.parquet")
        details = {"name": name, "best": best and best["name"], "command": facts["command"]}
        failed = sum(len(cell["failures"]) for cell in facts["cells"])
        published = publish(
            storage,
            prefix,
            files,
            kind="comparison",
            id=facts["id"],
            details={**details, "runs": len(runs), "failed": failed},
        )
    delete_other_attempts(storage, prefix)
    return published


def _check_all_ended(jobs: Sequence[RunSpec], ended: Collection[str]) -> None:
    """UserError if a run has no end that a comparison can tell of: it is never passed over."""
    if left := [job.id for job in jobs if job.id not in ended]:
        raise UserError(
            f"found no end of the runs {', '.join(left)}, expected each to be published, stopped "
            "early or failed: nothing is published, and the same command goes on from here"
        )


def _facts(
    jobs: Sequence[RunSpec],
    runs: dict[str, dict[str, Any]],
    failures: dict[str, str],
    name: str,
) -> dict[str, Any]:
    """All that the page and the table say."""
    first = jobs[0]
    cells: dict[str, list[RunSpec]] = {}
    for job in jobs:
        cells.setdefault(cell_name(job.training), []).append(job)
    shared = asdict(first.training)
    for field in (*FIELDS, "seed"):
        del shared[field]
    stopped = {run: details["stopped_at"] for run, details in runs.items()}
    hardware = [details["hardware"] for details in runs.values() if "hardware" in details]
    return {
        "id": f"{first.task.name}-{name}-{content_id([job.id for job in jobs], failures, stopped)}",
        "name": name,
        **first.details,
        "config": shared,
        "seeds": sorted({job.training.seed for job in jobs}),
        "versions": versions(),
        "hardware": hardware[0] if hardware else {},
        "cells": [_cell(cell, same, runs, failures) for cell, same in cells.items()],
    }


def _cell(
    name: str,
    jobs: list[RunSpec],
    runs: dict[str, dict[str, Any]],
    failures: dict[str, str],
) -> dict[str, Any]:
    ended = [runs[job.id] for job in jobs if job.id in runs]
    return {
        "name": name,
        **{field: getattr(jobs[0].training, field) for field in FIELDS},
        "parameters": ended[0]["parameters"] if ended else None,
        "layers": ended[0]["layers"] if ended else None,
        "runs": ended,
        "failures": [
            {"seed": job.training.seed, "reason": failures[job.id]}
            for job in jobs
            if job.id in failures
        ],
    }


def _finished_run(job: RunSpec, manifest: Manifest) -> dict[str, Any]:
    return {
        "seed": job.training.seed,
        "id": job.id,
        "stopped_at": None,
        "history": read_history(job.storage, job.folder, manifest),
        **{name: manifest.details[name] for name in ("scores", *SIZE, "hardware")},
    }


def _stopped_run(job: RunSpec, found: StoppedRun) -> dict[str, Any]:
    """Its scores are what its last epoch said: it was not tested."""
    last = found["history"][-1]
    return {
        "seed": job.training.seed,
        "id": job.id,
        "stopped_at": last["epoch"],
        "scores": {
            "train": {"loss": last["loss"], "accuracy": last["accuracy"]},
            "validation": {"loss": last["val_loss"], "accuracy": last["val_accuracy"]},
        },
        **found,
    }


def _evidence(jobs: Sequence[RunSpec], best: dict[str, Any]) -> Evidence | None:
    """What the best cell's first finished run says of the test images, or of those held out."""
    run = next((run for run in best["runs"] if run["stopped_at"] is None), None)
    if run is None:
        return None
    (job,) = [job for job in jobs if job.id == run["id"]]
    split = next(name for name in ("test", "validation", "train") if name in job.splits)
    images, labels = job.splits[split].arrays()
    model = open_model(job.storage, job.folder, job.task)
    predictions = predict_remotely({job.id: model}, images)[job.id]
    return Evidence(
        cell=best["name"],
        run=job.id,
        split=split,
        evaluation=evaluate(labels, predictions, job.task.classes).to_json(),
        labels=labels,
        probabilities=predictions,
        images=images,
    )
