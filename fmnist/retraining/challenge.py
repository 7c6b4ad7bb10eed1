"""A challenger against the champion: both judged on the same examples, and the winner enthroned.

Two jobs may do this at once. Only the one whose compare-and-swap succeeds moves the pointer; the
other judges its challenger once more, against the champion that is there now.
"""

import json
from dataclasses import dataclass, field

from fmnist.cluster.remote import predict_remotely
from fmnist.data.dataset import Dataset, Examples, labelled, split_rows
from fmnist.errors import UserError
from fmnist.pages.scores import EvaluationJson
from fmnist.recipes import Training
from fmnist.registry.champion import Champion, champion_key, promote, read_champion
from fmnist.retraining.gate import Decision, Gate, judge
from fmnist.retraining.verdicts import Note, Outcome, State, Verdict, delete_note, write_note
from fmnist.runs.evaluation import evaluate
from fmnist.runs.ids import run_folder
from fmnist.runs.published import METRICS, open_model
from fmnist.storage.atomic import temporary_folder
from fmnist.storage.manifest import fetch, read_manifest
from fmnist.storage.open import Storage
from fmnist.tasks import Task

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
            return (
                "These are the labelled test images. The challenger has not learned from them; nor "
                "has the champion, unless they were among the training images of its own data."
            )
        return (
            "The data have no labelled test images: these are the challenger's validation images, "
            "from which it has not learned and on which its epoch was not chosen. The champion may "
            "have learned from some of them, or its epoch was chosen on some, which favours it."
        )


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A challenger against one champion; `withdrawn` if it was champion until a rollback."""

    passed: bool
    reason: str
    withdrawn: bool = False
    decision: Decision | None = None
    evaluations: dict[str, EvaluationJson] = field(default_factory=dict)


def hold_out(dataset: Dataset, training: Training) -> HeldOut:
    """The labelled test part, or the validation part.

    Raises UserError where there is neither, and where the epoch would be chosen on the same images
    that are to be the judge.
    """
    if dataset.test is not None and dataset.test.labels is not None:
        return HeldOut(part="test", examples=dataset.test)
    train = labelled(dataset)
    rows = split_rows(len(train), training.validation)[1]
    if rows is None:
        raise UserError(
            f"{dataset.source}: found no labelled test part and a validation share of 0, expected "
            "labelled examples to judge champion and challenger on"
        )
    if training.select == "best":
        raise UserError(
            f"{dataset.source}: found no labelled test part and select best, which chooses the "
            "epoch on the validation images that champion and challenger would be judged on; "
            "expected labelled test images, or --select last"
        )
    return HeldOut(part="validation", examples=train.take(rows))


def challenge(
    storage: Storage,
    task: Task,
    challenger: str,
    *,
    seed: int,
    before: Champion | None,
    held_out: HeldOut,
    gate: Gate,
    command: str,
) -> tuple[Verdict, Note | None]:
    """Makes the published run `challenger` champion if it passes the gate against who is it.

    `before` is the champion that was seen last; where there was none, nothing has to be passed.
    What was rolled back, be it meanwhile, does not pass. The note of a promotion is in the storage
    until somebody deletes it; `seed`, the challenger's, is for who finds it there.
    """
    champion = before
    for attempt in range(TRIES):
        trial = _hold_trial(storage, task, champion, challenger, held_out, gate)
        if trial.passed:
            after = State(run=challenger, counter=champion.counter + 1 if champion else 1)
            verdict = _verdict("promoted", trial, before, after, gate)
            note = write_note(storage, task.name, verdict, seed=seed)
            if promote(
                storage,
                task.name,
                challenger,
                expected=champion,
                command=command,
                token=note.token,
            ):
                return verdict, note
            delete_note(storage, task.name, note)
        now = _champion_now(storage, task)
        if trial.withdrawn or now == champion or attempt == TRIES - 1:
            kept = trial.withdrawn or (attempt == 0 and not trial.passed)
            outcome: Outcome = "kept" if kept else "overtaken"
            return _verdict(outcome, trial, before, State.of(now), gate), None
        champion = now
    raise AssertionError


def withdrawn_reason(challenger: str) -> str:
    return (
        f"The challenger {challenger} was champion until it was rolled back, and is not "
        "promoted again; --force trains another one with another seed."
    )


def published_scores(storage: Storage, run: str) -> dict[str, EvaluationJson]:
    """What a published run says of itself: an `Evaluation.to_json()` by part of its data."""
    manifest = read_manifest(storage, run_folder(run))
    if manifest is None:
        raise UserError(f"{storage.uri}/{run_folder(run)}: found no finished run, expected one")
    with temporary_folder() as folder:
        file = fetch(storage, run_folder(run), manifest, METRICS, folder / METRICS)
        scores: dict[str, EvaluationJson] = json.loads(file.read_bytes())
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
    if challenger in champion.withdrawn:
        return Trial(passed=False, withdrawn=True, reason=withdrawn_reason(challenger))
    if champion.run == challenger:
        return Trial(passed=False, reason="Another job has made this very run champion meanwhile.")
    labels = held_out.examples.labels
    assert labels is not None
    models = {
        name: open_model(storage, run_folder(run), task)
        for name, run in (("champion", champion.run), ("challenger", challenger))
    }
    predictions = predict_remotely(models, held_out.examples.images)
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


def _verdict(
    outcome: Outcome, trial: Trial, before: Champion | None, after: State, gate: Gate
) -> Verdict:
    return Verdict(
        outcome=outcome,
        reason=trial.reason,
        before=State.of(before) if before else None,
        after=after,
        gate=gate,
        decision=trial.decision,
        evaluations=trial.evaluations,
    )


def _champion_now(storage: Storage, task: Task) -> Champion:
    champion = read_champion(storage, task.name)
    if champion is None:
        where = f"{storage.uri}/{champion_key(task.name)}"
        raise UserError(f"{where} was deleted while a challenger was judged")
    return champion
