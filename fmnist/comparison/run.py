"""Trains the runs of a comparison, ranks its cells on validation images, publishes the result."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict

import pyarrow.parquet as pq

from fmnist.cluster.remote import predict_remotely
from fmnist.comparison.ended_runs import ended_runs
from fmnist.comparison.facts import (
    FACTS,
    ComparedCell,
    ComparedRun,
    Comparison,
    FailedRun,
    Split,
)
from fmnist.comparison.grid.settings import cell_name, settings_of, shown_settings
from fmnist.comparison.pages.page import Evidence, comparison_page
from fmnist.comparison.pages.tables import comparison_table
from fmnist.comparison.pages.text import comparison_markdown
from fmnist.comparison.progress import SweepProgress
from fmnist.comparison.statistics.ranking import best_cell, rank_cells
from fmnist.comparison.sweep import sweep
from fmnist.data.dataset import Dataset
from fmnist.errors import UserError
from fmnist.job_config import CONFIG, JobConfig
from fmnist.pages.html import PAGE
from fmnist.run_settings import Cluster, Training
from fmnist.runs.evaluation import evaluate
from fmnist.runs.published import open_model
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
from fmnist.training.spec import RunSpec
from fmnist.training.splits import in_memory, put_splits

SPLIT_ORDER: tuple[Split, ...] = ("test", "validation", "train")  # the best evidence first


def comparison_folder(comparison_id: str) -> str:
    """Returns the folder of a comparison in the storage root."""
    return f"comparisons/{comparison_id}"


def run_specs(
    dataset: Dataset,
    runs: Sequence[Training],
    cluster: Cluster,
    storage: Storage,
    *,
    command: str,
    config: JobConfig | None = None,
) -> list[RunSpec]:
    """Returns the runs of a comparison, which share one copy of the data in the object store."""
    splits = put_splits(dataset, runs[0].validation)
    first = RunSpec.of(dataset, runs[0], cluster, storage, command=command, splits=splits)
    return [first.with_training(run, config) for run in runs]


def compare(
    specs: Sequence[RunSpec],
    *,
    name: str,
    early_stopping: bool = False,
    ablated: Sequence[str] = (),
    failures: Mapping[str, str] | None = None,
    progress: SweepProgress | None = None,
    config: JobConfig | None = None,
) -> Manifest:
    """Trains the runs that are not finished; publishes tables, a page, and the flags in `config`.

    Cells with the default of a setting in `ablated` are named as those without it. With `failures`,
    which has reasons by run id, all runs have been trained, and these have failed.

    The id of the result follows from the runs and their ends: a comparison in which a run failed
    can be started again, and then has another id. Raises UserError if a run has no end.
    """
    storage = specs[0].storage
    if failures is None:
        failures = sweep(specs, early_stopping=early_stopping, progress=progress)
    runs = ended_runs(specs, early_stopping)
    # Another job may have trained a run that has failed here.
    failures = {run: reason for run, reason in failures.items() if run not in runs}
    _check_all_ended(specs, {*runs, *failures})
    comparison = _comparison(specs, runs, failures, name, ablated)
    folder = comparison_folder(comparison.id)
    published = read_manifest(storage, folder) or _publish(storage, comparison, specs, config)
    delete_other_attempts(storage, folder)
    return published


def _publish(
    storage: Storage, comparison: Comparison, specs: Sequence[RunSpec], config: JobConfig | None
) -> Manifest:
    best = best_cell(comparison)
    evidence = _evidence(specs, best) if best else None
    details = {
        "name": comparison.name,
        "best": best and best.name,
        "command": comparison.command,
        "runs": sum(len(cell.runs) for cell in comparison.cells),
        "failed": sum(len(cell.failures) for cell in comparison.cells),
    }
    with temporary_folder() as files:
        page = comparison_page(comparison, evidence)
        (files / PAGE).write_text(page, encoding="utf-8")
        (files / "results.md").write_text(comparison_markdown(comparison), encoding="utf-8")
        rows = rank_cells(comparison)
        facts = comparison.to_json()
        facts |= {
            "ranking": [row.cell.name for row in rows],
            "labels": {row.cell.name: row.label for row in rows},  # short names
        }
        (files / FACTS).write_text(json.dumps(facts, indent=1, allow_nan=False))
        pq.write_table(comparison_table(comparison), files / "results.parquet")
        if config:
            (files / CONFIG).write_text(config.to_toml(), encoding="utf-8")
        return publish(
            storage,
            comparison_folder(comparison.id),
            files,
            kind="comparison",
            id=comparison.id,
            details=details,
        )


def _check_all_ended(specs: Sequence[RunSpec], ended: Collection[str]) -> None:
    """Raises UserError if a run is neither published nor stopped nor failed.

    This happens if another job deletes a run; the comparison must not leave it out silently.
    """
    if left := [spec.id for spec in specs if spec.id not in ended]:
        raise UserError(
            f"found no end of the runs {', '.join(left)}, expected each to be published, stopped "
            "early or failed: nothing is published, and the same command goes on from here"
        )


def _comparison(
    specs: Sequence[RunSpec],
    runs: Mapping[str, ComparedRun],
    failures: Mapping[str, str],
    name: str,
    ablated: Sequence[str],
) -> Comparison:
    first = specs[0]
    shown = shown_settings([spec.training for spec in specs])
    cells: dict[str, list[RunSpec]] = {}
    for spec in specs:
        cell = cell_name(settings_of(spec.training, shown), ablated)
        cells.setdefault(cell, []).append(spec)
    config = asdict(first.training)
    for field in (*shown, "seed"):
        del config[field]
    stopped = {run_id: run.stopped_at for run_id, run in runs.items()}
    digest = content_id([spec.id for spec in specs], failures, stopped)
    return Comparison(
        id=f"{first.task.name}-{name}-{digest}",
        name=name,
        command=first.details["command"],
        task=first.task,
        dataset=first.details["dataset"],
        nodes=first.details["nodes"],
        config=config,
        seeds=sorted({spec.training.seed for spec in specs}),
        versions=versions(),
        hardware=next((run.hardware for run in runs.values() if run.hardware is not None), {}),
        cells=[_cell(cell, shown, same, runs, failures) for cell, same in cells.items()],
        ablated=ablated,
    )


def _cell(
    name: str,
    shown: Sequence[str],
    specs: Sequence[RunSpec],
    runs: Mapping[str, ComparedRun],
    failures: Mapping[str, str],
) -> ComparedCell:
    ended = [runs[spec.id] for spec in specs if spec.id in runs]
    return ComparedCell(
        name=name,
        settings=settings_of(specs[0].training, shown),
        parameters=ended[0].parameters if ended else None,
        layers=ended[0].layers if ended else None,
        runs=ended,
        failures=[
            FailedRun(seed=spec.training.seed, reason=failures[spec.id])
            for spec in specs
            if spec.id in failures
        ],
    )


def _evidence(specs: Sequence[RunSpec], best: ComparedCell) -> Evidence | None:
    """Returns the predictions of the best cell's first finished run, on test images if it can."""
    run = next((run for run in best.runs if run.stopped_at is None), None)
    if run is None:
        return None
    (spec,) = [spec for spec in specs if spec.id == run.id]
    split = next(name for name in SPLIT_ORDER if name in spec.splits)
    images, labels = in_memory(spec.splits[split]).open()
    model = open_model(spec.storage, spec.folder, spec.task)
    predictions = predict_remotely({run.id: model}, images)[run.id]
    return Evidence(
        cell=best.name,
        run=run.id,
        split=split,
        evaluation=evaluate(labels, predictions, spec.task.classes).to_json(),
        labels=labels,
        probabilities=predictions,
        images=images,
    )
