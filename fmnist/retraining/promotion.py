"""Promotes a challenger if it passes the gate against the champion.

Two jobs may do this at once. Only the one whose compare-and-swap succeeds moves the pointer; the
other one compares its challenger once more, with the champion that is there now.
"""

from dataclasses import dataclass, field

from fmnist.cluster.remote import predict_remotely
from fmnist.errors import UserError
from fmnist.pages.scores import EvaluationJson
from fmnist.registry.champion import Champion, pointer_key, promote, read_champion
from fmnist.retraining.gate import Gate, GateDecision, apply_gate
from fmnist.retraining.held_out import HeldOut
from fmnist.retraining.pending import PendingPromotion, delete_pending, write_pending
from fmnist.retraining.result import ChampionVersion, Outcome, RetrainingResult
from fmnist.runs.evaluation import evaluate
from fmnist.runs.ids import run_folder
from fmnist.runs.published import PublishedModel, open_model, read_evaluations
from fmnist.storage.open import Storage
from fmnist.tasks import Task

ATTEMPTS = 2  # against the champion that was seen, and against one that another job promoted since


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Result of comparing a challenger with one champion, or the reason why none was needed.

    `decision` is None if the gate was not applied. `rolled_back` is True if the challenger was
    champion until somebody rolled it back.
    """

    passed: bool
    reason: str
    rolled_back: bool = False
    decision: GateDecision | None = None
    evaluations: dict[str, EvaluationJson] = field(default_factory=dict)


def promote_if_better(
    storage: Storage,
    task: Task,
    challenger: str,
    *,
    seed: int,
    before: Champion | None,
    held_out: HeldOut,
    gate: Gate,
    command: str,
) -> tuple[RetrainingResult, PendingPromotion | None]:
    """Makes the finished run `challenger` champion if it passes the gate against the champion.

    `before` is the champion that was seen last; without one, the challenger passes. A run that was
    rolled back, even meanwhile, does not pass. Returns the result, and after a promotion also its
    pending promotion, which the caller deletes when the result is published. `seed`, the
    challenger's, lets a later job find the pending promotion.
    """
    champion = before
    for attempt in range(ATTEMPTS):
        judgement = _compare(storage, task, champion, challenger, held_out, gate)
        if judgement.passed:
            counter = champion.counter + 1 if champion else 1
            after = ChampionVersion(run=challenger, counter=counter)
            result = _result("promoted", judgement, before, after, gate)
            pending = write_pending(storage, task.name, result, seed=seed)
            token = pending.token
            if promote(
                storage, task.name, challenger, expected=champion, command=command, token=token
            ):
                return result, pending
            delete_pending(storage, task.name, pending)
        now = _read_champion_again(storage, task)
        if judgement.rolled_back or now == champion or attempt == ATTEMPTS - 1:
            kept = judgement.rolled_back or (attempt == 0 and not judgement.passed)
            outcome: Outcome = "kept" if kept else "overtaken"
            return _result(outcome, judgement, before, ChampionVersion.of(now), gate), None
        champion = now
    raise AssertionError


def rolled_back_reason(challenger: str) -> str:
    """Says for people why a run that was rolled back is not promoted."""
    return (
        f"The challenger {challenger} was champion until it was rolled back, and is not "
        "promoted again; --force trains another one with another seed."
    )


def _compare(
    storage: Storage,
    task: Task,
    champion: Champion | None,
    challenger: str,
    held_out: HeldOut,
    gate: Gate,
) -> Judgement:
    if champion is None:
        evaluations = read_evaluations(storage, run_folder(challenger))
        return Judgement(
            passed=True,
            reason="There was no champion, so the challenger became it without a test.",
            evaluations={"challenger": evaluations[held_out.part]},
        )
    if challenger in champion.rolled_back:
        return Judgement(passed=False, rolled_back=True, reason=rolled_back_reason(challenger))
    if champion.run == challenger:
        reason = "Another job has made this very run champion meanwhile."
        return Judgement(passed=False, reason=reason)
    runs = {"champion": champion.run, "challenger": challenger}
    models = {name: open_model(storage, run_folder(run), task) for name, run in runs.items()}
    return _compare_models(models, task, held_out, gate)


def _compare_models(
    models: dict[str, PublishedModel], task: Task, held_out: HeldOut, gate: Gate
) -> Judgement:
    labels = held_out.examples.labels
    assert labels is not None
    predictions = predict_remotely(models, held_out.examples.images)
    predicted = {name: each.argmax(axis=1) for name, each in predictions.items()}
    decision = apply_gate(labels, predicted["champion"], predicted["challenger"], gate)
    return Judgement(
        passed=decision.passed,
        reason=decision.reason,
        decision=decision,
        evaluations={
            name: evaluate(labels, each, task.classes).to_json()
            for name, each in predictions.items()
        },
    )


def _result(
    outcome: Outcome,
    judgement: Judgement,
    before: Champion | None,
    after: ChampionVersion,
    gate: Gate,
) -> RetrainingResult:
    return RetrainingResult(
        outcome=outcome,
        reason=judgement.reason,
        before=ChampionVersion.of(before) if before else None,
        after=after,
        gate=gate,
        decision=judgement.decision,
        evaluations=judgement.evaluations,
    )


def _read_champion_again(storage: Storage, task: Task) -> Champion:
    champion = read_champion(storage, task.name)
    if champion is None:
        where = f"{storage.uri}/{pointer_key(task.name)}"
        raise UserError(f"{where} was deleted while a challenger was judged")
    return champion
