"""A challenger against the champion: both judged on the same examples, and the winner enthroned.

Two jobs may do this at once. Only the one whose compare-and-swap succeeds moves the pointer; the
other judges its challenger once more, against the champion that is there now.
"""

import json
from dataclasses import dataclass, field
from typing import Literal

from fmnist.dataset import Dataset, Examples, labelled, split
from fmnist.drafts import scratch
from fmnist.errors import UserError
from fmnist.evaluation import evaluate
from fmnist.gate import Decision, Gate, judge
from fmnist.manifest import fetch, read_manifest
from fmnist.published import METRICS, open_model
from fmnist.recipes import Training
from fmnist.registry import Champion, champion_key, promote, read_champion
from fmnist.remote import probabilities
from fmnist.runs import run_folder
from fmnist.storage import Storage
from fmnist.tasks import Task

Outcome = Literal["promoted", "kept", "unchanged", "overtaken"]

TRIES = 2  # against the champion that was seen, and against the one that came in between


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOut:
    """The labelled examples that champion and challenger are judged on; `part` is theirs."""

    part: str
    examples: Examples

    @property
    def note(self) -> str:
        """What to know about a judgement on them."""
        if self.part == "test":
            return "These are the labelled test images, from which neither has learned."
        return (
            "The data have no labelled test images: these are the challenger's validation images, "
            "from some of which the champion may have learned, which favours the champion."
        )


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of a challenger; `after` is the champion now.

    `decision` is None where nothing was judged. `evaluations` holds an `Evaluation.to_json()` of
    `champion` and `challenger`, as far as there are some of this data. Where the outcome is
    `overtaken`, they are about the champion that somebody else has put there meanwhile, if there
    was still time to judge against it.
    """

    outcome: Outcome
    reason: str
    after: Champion
    decision: Decision | None = None
    evaluations: dict[str, dict] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A challenger against one champion."""

    passed: bool
    reason: str
    decision: Decision | None = None
    evaluations: dict[str, dict] = field(default_factory=dict)


def hold_out(dataset: Dataset, training: Training) -> HeldOut:
    """The labelled test part, or the validation part; UserError where there is neither."""
    if dataset.test is not None and dataset.test.labels is not None:
        return HeldOut(part="test", examples=dataset.test)
    validation = split(labelled(dataset), training.validation)[1]
    if validation is None:
        raise UserError(
            f"{dataset.source}: found no labelled test part and a validation share of 0, expected "
            "labelled examples to judge champion and challenger on"
        )
    return HeldOut(part="validation", examples=validation)


def challenge(
    storage: Storage,
    task: Task,
    challenger: str,
    *,
    before: Champion | None,
    held_out: HeldOut,
    gate: Gate,
    command: str,
) -> Verdict:
    """Makes the published run `challenger` champion if it passes the gate against who is it.

    `before` is the champion that was seen last; where there was none, nothing has to be passed.
    """
    champion = before
    for attempt in range(TRIES):
        trial = _hold_trial(storage, task, champion, challenger, held_out, gate)
        moved = None
        if trial.passed:
            moved = promote(storage, task.name, challenger, expected=champion, command=command)
        now = moved or _champion_now(storage, task)
        overtaken = moved is None and (attempt > 0 or now != champion)
        if moved or now == champion or attempt == TRIES - 1:
            outcome: Outcome = "promoted" if moved else "overtaken" if overtaken else "kept"
            return Verdict(
                outcome=outcome,
                reason=trial.reason,
                after=now,
                decision=trial.decision,
                evaluations=trial.evaluations,
            )
        champion = now
    raise AssertionError


def published_scores(storage: Storage, run: str) -> dict[str, dict]:
    """What a published run says of itself: an `Evaluation.to_json()` by part of its data."""
    manifest = read_manifest(storage, run_folder(run))
    if manifest is None:
        raise UserError(f"{storage.uri}/{run_folder(run)}: found no finished run, expected one")
    with scratch() as folder:
        file = fetch(storage, run_folder(run), manifest, METRICS, folder / METRICS)
        scores: dict[str, dict] = json.loads(file.read_bytes())
    return scores


def _hold_trial(
    storage: Storage,
    task: Task,
    champion: Champion | None,
    challenger: str,
    held_out: HeldOut,
    gate: Gate,
) -> Trial:
    if champion is None:
        return Trial(
            passed=True,
            reason="There was no champion, so the challenger became it without a test.",
            evaluations={"challenger": published_scores(storage, challenger)[held_out.part]},
        )
    if champion.run == challenger:
        return Trial(passed=False, reason="Another job has made this very run champion meanwhile.")
    labels = held_out.examples.labels
    assert labels is not None
    models = {
        name: open_model(storage, run_folder(run), task)
        for name, run in (("champion", champion.run), ("challenger", challenger))
    }
    predictions = probabilities(models, held_out.examples.images)
    predicted = {name: each.argmax(axis=1) for name, each in predictions.items()}
    decision = judge(labels, predicted["champion"], predicted["challenger"], gate)
    return Trial(
        passed=decision.passed,
        reason=decision.reason,
        decision=decision,
        evaluations={
            name: evaluate(labels, each, task.classes).to_json()
            for name, each in predictions.items()
        },
    )


def _champion_now(storage: Storage, task: Task) -> Champion:
    champion = read_champion(storage, task.name)
    if champion is None:
        where = f"{storage.uri}/{champion_key(task.name)}"
        raise UserError(f"{where} was deleted while a challenger was judged")
    return champion
