"""The scheduled job: a challenger on today's data, the gate, the pointer, the predictions.

The same call does all of it again and nothing twice: what is trained or scored already is found by
ids that follow from configuration and data, and a promotion by the note of its verdict.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any

from fmnist.errors import UserError
from fmnist.recipes import Cluster, Training
from fmnist.registry.candidates import record, remove
from fmnist.registry.champion import champion_key, read_champion
from fmnist.registry.prune import mark_old_for_deletion, remove_remains
from fmnist.retraining.challenge import challenge, published_scores
from fmnist.retraining.gate import Gate
from fmnist.retraining.page import retraining_page
from fmnist.retraining.plan import Plan
from fmnist.retraining.verdicts import Note, State, Verdict, delete_note, delete_void_notes
from fmnist.runs.ids import run_folder
from fmnist.runs.published import open_model
from fmnist.scoring.inputs import Inputs
from fmnist.scoring.job import predictions_folder
from fmnist.scoring.predictions import LABELS, SUBMISSION
from fmnist.scoring.run import score
from fmnist.storage.atomic import temporary_folder
from fmnist.storage.manifest import Manifest, content_id, publish, tidy, versions
from fmnist.storage.open import Storage
from fmnist.training.run import train

SUMMARY = "summary.json"
REPORT = "report.html"


@dataclass(frozen=True, kw_only=True)
class Retention:
    """Which of the runs that retraining made stay."""

    keep_champions: int = 3
    """Former champions that stay for rollback, the newest."""
    keep_runs: int = 7
    """Other finished candidates that stay, the newest."""


def retrainings_folder(retraining_id: str) -> str:
    """Where in the storage root a retraining's summary lies."""
    return f"retrainings/{retraining_id}"


def check_retention(retention: Retention) -> None:
    """Raises UserError that lists the settings with a value that they cannot have."""
    problems = [
        f"{name.replace('_', ' ')} is {value}, expected at least 0"
        for name, value in asdict(retention).items()
        if value < 0
    ]
    UserError.raise_if(problems)


def retrain(
    plan: Plan,
    inputs: Inputs,
    cluster: Cluster,
    storage: Storage,
    *,
    gate: Gate,
    retention: Retention,
    command: str,
    actors: int | None = None,
) -> Manifest:
    """Trains and judges what the plan asks for, scores `inputs` with the champion, and prunes.

    `actors` are those of `scoring.score`. Returns the published summary. Raises UserError for what
    `training.train`, `scoring.score` and `published.open_model` raise it.
    """
    task = plan.dataset.task
    verdict, note = _settle(plan, cluster, storage, gate, command)
    model = open_model(storage, run_folder(verdict.after.run), task)
    predictions = score(model=model, inputs=inputs, storage=storage, actors=actors, gpu=cluster.gpu)
    # Removed after the summary, so that one that is published by a second start has the same list.
    marked = mark_old_for_deletion(storage, task.name, **asdict(retention))
    facts = {
        **_facts(plan, verdict, storage),
        "gate": asdict(verdict.gate),
        "predictions": _predictions(storage, predictions),
        "retention": asdict(retention),
        "pruned": marked,
    }
    published = _publish(storage, task.name, facts, plan.training, cluster, command)
    if note:
        delete_note(storage, task.name, note)
    for run in marked:
        remove(storage, task.name, run)
    delete_void_notes(storage, task.name, read_champion(storage, task.name))
    remove_remains(storage)
    return published


def _settle(
    plan: Plan, cluster: Cluster, storage: Storage, gate: Gate, command: str
) -> tuple[Verdict, Note | None]:
    """What becomes of the challenger, and the note to delete when that is published."""
    task = plan.dataset.task
    if plan.unfinished:
        assert plan.champion
        return plan.unfinished.verdict_now(plan.champion), plan.unfinished
    if plan.settled:
        return _stay(plan, storage, gate), None
    record(storage, task.name, plan.challenger)
    train(plan.dataset, plan.training, cluster, storage, command=command)
    return challenge(
        storage,
        task,
        plan.challenger,
        seed=plan.training.seed,
        before=plan.champion,
        held_out=plan.held_out,
        gate=gate,
        command=command,
    )


def _stay(plan: Plan, storage: Storage, gate: Gate) -> Verdict:
    assert plan.settled and plan.champion
    outcome, reason = plan.settled
    evaluations = {}
    if outcome == "unchanged":  # or else the champion's own scores are on other data
        scores = published_scores(storage, plan.champion.run)
        evaluations = {"champion": scores[plan.held_out.part]}
    state = State.of(plan.champion)
    return Verdict(
        outcome=outcome,
        reason=reason,
        before=state,
        after=state,
        gate=gate,
        evaluations=evaluations,
    )


def _facts(plan: Plan, verdict: Verdict, storage: Storage) -> dict[str, Any]:
    """All of the summary that says what happened."""
    task, dataset, held_out = plan.dataset.task, plan.dataset, plan.held_out
    parts = {"train": dataset.train, "test": dataset.test}
    return {
        "outcome": verdict.outcome,
        "reason": verdict.reason,
        "task": task.details,
        "dataset": {
            "source": dataset.source,
            "fingerprint": dataset.fingerprint,
            **{name: len(part) for name, part in parts.items() if part is not None},
        },
        "champion": {
            "before": asdict(verdict.before) if verdict.before else None,
            "after": asdict(verdict.after),
        },
        "challenger": None if verdict.outcome == "unchanged" else plan.challenger,
        "pointer": f"{storage.uri}/{champion_key(task.name)}",
        "model": f"{storage.uri}/{run_folder(verdict.after.run)}",
        "held_out": {
            "part": held_out.part, "examples": len(held_out.examples), "note": held_out.note,
        },
        "decision": asdict(verdict.decision) if verdict.decision else None,
        "evaluations": verdict.evaluations,
    }  # fmt: skip


def _predictions(storage: Storage, manifest: Manifest) -> dict[str, Any]:
    folder = f"{storage.uri}/{predictions_folder(manifest.id)}"
    return {
        "id": manifest.id,
        "images": manifest.details["images"],
        "labels": f"{folder}/{LABELS}/",
        "submission": f"{folder}/{SUBMISSION}",
    }


def _publish(
    storage: Storage,
    task_name: str,
    facts: dict[str, Any],
    training: Training,
    cluster: Cluster,
    command: str,
) -> Manifest:
    identity = f"{task_name}-{facts['outcome']}-{content_id(facts)}"
    summary = {
        "id": identity,
        **facts,
        "config": asdict(training) | asdict(cluster),
        "versions": versions(),
        "command": command,
    }
    with temporary_folder() as folder:
        (folder / SUMMARY).write_text(json.dumps(summary, indent=1, allow_nan=False))
        (folder / REPORT).write_text(retraining_page(summary), encoding="utf-8")
        shown = ("outcome", "reason", "champion", "predictions", "command")
        details = {field: summary[field] for field in shown}
        published = publish(
            storage,
            retrainings_folder(identity),
            folder,
            kind="retraining",
            id=identity,
            details=details,
        )
    tidy(storage, retrainings_folder(identity))  # of what a job left that died while it published
    return published
