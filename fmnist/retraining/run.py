"""The driver of the scheduled retraining job: checks the data, trains, promotes, scores, prunes.

If it is started again, it does nothing twice: trained runs and predictions have ids that follow
from configuration and data, and a promotion has left a pending promotion in the storage.
"""

import json
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime

from fmnist.cluster import metrics
from fmnist.drift.check import DataCheck
from fmnist.drift.limits import DriftLimits
from fmnist.job_config import CONFIG, JobConfig
from fmnist.pages.html import PAGE
from fmnist.registry.candidates import register_candidate
from fmnist.registry.champion import Champion, read_champion
from fmnist.registry.prune import delete_leftovers, delete_marked_runs, mark_old_runs
from fmnist.registry.retention_settings import Retention
from fmnist.retraining.data_check import check_plan
from fmnist.retraining.data_check_text import data_check_line
from fmnist.retraining.gate import Gate
from fmnist.retraining.page import retraining_page
from fmnist.retraining.pending import PendingPromotion, delete_impossible, delete_pending
from fmnist.retraining.plan import NoTraining, Plan
from fmnist.retraining.promotion import promote_if_better
from fmnist.retraining.result import (
    SUMMARY,
    ChampionVersion,
    RetrainingResult,
    retrainings_folder,
)
from fmnist.retraining.summary import RetrainingSummary, summarize
from fmnist.run_settings import Cluster
from fmnist.runs.ids import run_folder
from fmnist.runs.published import open_model, read_evaluations
from fmnist.scoring.inputs import Inputs
from fmnist.scoring.run import score
from fmnist.scoring.settings import PredictionSettings
from fmnist.storage.atomic import temporary_folder
from fmnist.storage.manifest import Manifest, delete_other_attempts, publish
from fmnist.storage.open import Storage
from fmnist.training.run import train

IN_MANIFEST = ("outcome", "reason", "champion", "predictions", "command")


def retrain(
    plan: Plan,
    inputs: Inputs,
    cluster: Cluster,
    storage: Storage,
    *,
    gate: Gate,
    retention: Retention,
    command: str,
    limits: DriftLimits | None = None,
    config: JobConfig | None = None,
    actors: int | str | None = None,
) -> Manifest:
    """Trains the planned challenger, applies the gate, scores `inputs` with the champion, prunes.

    Does none of it if the data differ from the champion's by more than the `limits`. `actors` are
    those of `scoring.run.score`; `config`, the flags of the job, is published too. Returns the
    manifest of the published summary. Raises the UserErrors of `data_check.check_plan`,
    `training.run.train`, `scoring.run.score` and `runs.published.open_model`.
    """
    task, config = plan.dataset.task, _published_config(plan, config)
    limits = limits or DriftLimits()
    data_check = _check(plan, inputs, storage)
    predictions, pending, marked = None, None, list[str]()
    # A promotion that has happened already is no longer refused.
    if data_check and not plan.pending and (refusal := data_check.refusal(limits)):
        result = _keep_champion(plan, NoTraining(outcome="drifted", reason=refusal), storage, gate)
    else:
        result, pending = _train_and_promote(plan, cluster, storage, gate, command, config)
        predictions = score(
            model=open_model(storage, run_folder(result.after.run), task),
            inputs=inputs,
            storage=storage,
            actors=actors,
            settings=PredictionSettings(gpu=cluster.gpu),
            config=config,
        )
        # Marked runs are deleted after the summary is published: a job that is started again before
        # then finds the same marks, and so publishes the same summary.
        marked = mark_old_runs(storage, task.name, retention, now=datetime.now(UTC))
    summary = summarize(
        plan,
        result,
        predictions,
        marked,
        data_check=data_check,
        limits=limits,
        cluster=cluster,
        storage=storage,
        retention=retention,
        command=command,
    )
    published = _publish(storage, summary, config)
    champion = _clean_up(storage, task.name, pending, marked)
    _export_metrics(summary, champion)
    return published


def _check(plan: Plan, inputs: Inputs, storage: Storage) -> DataCheck | None:
    """Checks the data, and says in a line what was found."""
    data_check = check_plan(plan, inputs, storage)
    if data_check:
        print(data_check_line(data_check), flush=True)
    return data_check


def _published_config(plan: Plan, config: JobConfig | None) -> JobConfig | None:
    """Returns the flags that give the planned run again, with the seed that `force` has chosen."""
    return config.with_values(asdict(plan.training) | {"force": False}) if config else None


def _clean_up(
    storage: Storage, task_name: str, pending: PendingPromotion | None, marked: list[str]
) -> Champion | None:
    """Deletes the pending promotion, the marked runs, and everything that killed jobs have left.

    Returns the champion as it is now.
    """
    if pending:
        delete_pending(storage, task_name, pending)
    delete_marked_runs(storage, task_name, marked)
    champion = read_champion(storage, task_name)
    delete_impossible(storage, task_name, champion)
    delete_leftovers(storage, now=datetime.now(UTC))
    return champion


def _export_metrics(summary: RetrainingSummary, champion: Champion | None) -> None:
    task = summary.task["name"]
    metrics.RETRAININGS.add(1, task=task, outcome=summary.outcome)
    if champion:
        with suppress(ValueError):  # the time is for people, and nobody has checked it
            since = datetime.fromisoformat(champion.history[-1].time)
            metrics.CHAMPION_SINCE.set(since.timestamp(), task=task)


def _train_and_promote(
    plan: Plan,
    cluster: Cluster,
    storage: Storage,
    gate: Gate,
    command: str,
    config: JobConfig | None,
) -> tuple[RetrainingResult, PendingPromotion | None]:
    """Returns the result, and the pending promotion to delete when the result is published."""
    task = plan.dataset.task
    if plan.pending:
        assert plan.champion
        return plan.pending.result_now(plan.champion), plan.pending
    if plan.no_training:
        return _keep_champion(plan, plan.no_training, storage, gate), None
    register_candidate(storage, task.name, plan.challenger)
    train(
        plan.dataset,
        plan.training,
        cluster,
        storage,
        command=command,
        config=config,
        files=plan.files,
    )
    return promote_if_better(
        storage,
        task,
        plan.challenger,
        seed=plan.training.seed,
        before=plan.champion,
        held_out=plan.held_out,
        gate=gate,
        command=command,
    )


def _keep_champion(
    plan: Plan, no_training: NoTraining, storage: Storage, gate: Gate
) -> RetrainingResult:
    assert plan.champion
    evaluations = {}
    # Only an unchanged champion was evaluated on this data.
    if no_training.outcome == "unchanged":
        scores = read_evaluations(storage, run_folder(plan.champion.run))
        evaluations = {"champion": scores[plan.held_out.part]}
    version = ChampionVersion.of(plan.champion)
    return RetrainingResult(
        outcome=no_training.outcome,
        reason=no_training.reason,
        before=version,
        after=version,
        gate=gate,
        evaluations=evaluations,
    )


def _publish(storage: Storage, summary: RetrainingSummary, config: JobConfig | None) -> Manifest:
    fields = summary.to_json()
    with temporary_folder() as folder:
        (folder / SUMMARY).write_text(json.dumps(fields, indent=1, allow_nan=False))
        if config:
            (folder / CONFIG).write_text(config.to_toml(), encoding="utf-8")
        (folder / PAGE).write_text(retraining_page(summary), encoding="utf-8")
        published = publish(
            storage,
            retrainings_folder(summary.id),
            folder,
            kind="retraining",
            id=summary.id,
            details={name: fields[name] for name in IN_MANIFEST},
        )
    # Deletes the files of a job that died while it published this summary.
    delete_other_attempts(storage, retrainings_folder(summary.id))
    return published
