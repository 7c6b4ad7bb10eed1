"""What was decided about a challenger; noted before the pointer moves, so that no death loses it.

A note lies in `registry/<task>/verdicts/` and has the token of the move that it is about. A move
with this token in the champion's history has happened; if it is not there and its number is taken,
it never will. The note is deleted when the retraining's summary, which says the same, is published.
"""

import json
import secrets
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from fmnist.errors import UserError
from fmnist.pages.scores import EvaluationJson
from fmnist.registry.candidates import registry_folder
from fmnist.registry.champion import Champion
from fmnist.retraining.gate import Decision, Gate
from fmnist.storage.manifest import content_id
from fmnist.storage.open import Storage, check_key
from fmnist.storage.records import read_record

Outcome = Literal["promoted", "kept", "unchanged", "overtaken"]
FIELDS: dict[str, type] = {
    "counter": int, "token": str, "run": str, "seed": int, "verdict": dict, "digest": str,
}  # fmt: skip
SUFFIX = ".json"


@dataclass(frozen=True, kw_only=True)
class State:
    """Which run was champion, and since which move."""

    run: str
    counter: int

    @classmethod
    def of(cls, champion: Champion) -> "State":
        return cls(run=champion.run, counter=champion.counter)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of a challenger; `before` is the champion of the plan, `after` the one now.

    `decision` is None where nothing was judged. `evaluations` holds an `Evaluation.to_json()` of
    `champion` and `challenger`, as far as there are some of this data. Where the outcome is
    `overtaken`, they are about the champion that somebody else has put there meanwhile, if there
    was still time to judge against it.
    """

    outcome: Outcome
    reason: str
    before: State | None
    after: State
    gate: Gate
    decision: Decision | None = None
    evaluations: dict[str, EvaluationJson] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Note:
    """The verdict on `run`, trained with `seed`, if move `counter` of this token happened."""

    counter: int
    token: str
    run: str
    seed: int
    verdict: Verdict

    def happened(self, champion: Champion | None) -> bool:
        """Returns True if the pointer was moved as noted, also if it was moved on since."""
        moves = champion.history if champion else ()
        return any((move.token, move.run) == (self.token, self.run) for move in moves)

    def verdict_now(self, champion: Champion) -> Verdict:
        """The verdict, for a summary that is published after the job which judged has died.

        Where the pointer has moved on, the champion afterwards is the one that is there now.
        """
        if champion.counter == self.counter:
            return self.verdict
        reason = (
            f"{self.verdict.reason} It was promoted by move {self.counter}; the pointer has moved "
            f"on since, to {champion.run} (move {champion.counter})."
        )
        fields = vars(self.verdict) | {"reason": reason, "after": State.of(champion)}
        return Verdict(**fields)


def write_note(storage: Storage, task_name: str, verdict: Verdict, *, seed: int) -> Note:
    """Notes a verdict that the move to `verdict.after` will make true, with a new token."""
    note = Note(
        counter=verdict.after.counter,
        token=secrets.token_hex(8),
        run=verdict.after.run,
        seed=seed,
        verdict=verdict,
    )
    fields = asdict(note)
    data = json.dumps(fields | {"digest": _digest(fields)}, indent=1, allow_nan=False)
    storage.write(_key(task_name, note), data.encode())
    return note


def read_notes(storage: Storage, task_name: str) -> list[Note]:
    """All that are there, the newest move first; UserError names one that is damaged."""
    keys = [key for key in storage.keys(_folder(task_name)) if key.endswith(SUFFIX)]
    found = [note for key in keys if (note := _read(storage, key))]
    return sorted(found, key=lambda note: note.counter, reverse=True)


def delete_note(storage: Storage, task_name: str, note: Note) -> None:
    """Once its summary is published, or its move can't happen any more."""
    storage.delete(_key(task_name, note))


def delete_void_notes(storage: Storage, task_name: str, champion: Champion | None) -> None:
    """Deletes the notes of moves that can't happen: another move has their number.

    Those of jobs that died before their move, that is. A move that may still come is left alone.
    """
    for note in read_notes(storage, task_name):
        if champion and note.counter <= champion.counter and not note.happened(champion):
            delete_note(storage, task_name, note)


def _read(storage: Storage, key: str) -> Note | None:
    found = read_record(storage, key, FIELDS, "a verdict")
    if found is None:  # just deleted
        return None
    fields: dict[str, Any] = found[0]
    digest = fields.pop("digest")
    if digest != (found_digest := _digest(fields)):
        raise UserError(
            f"{storage.uri}/{key}: found other content than was written (digest {found_digest}, "
            f"expected {digest})"
        )
    verdict = fields["verdict"]
    before, decision = verdict["before"], verdict["decision"]
    if decision:
        decision = Decision(**decision | {"interval": tuple(decision["interval"])})
    parts = {
        "before": State(**before) if before else None,
        "after": State(**verdict["after"]),
        "gate": Gate(**verdict["gate"]),
        "decision": decision,
    }
    return Note(**fields | {"verdict": Verdict(**verdict | parts)})


def _digest(fields: dict[str, Any]) -> str:
    """Of text, since a note that was altered may hold infinities, which are no JSON."""
    return content_id(json.dumps(fields, sort_keys=True, allow_nan=False))


def _folder(task_name: str) -> str:
    return check_key(f"{registry_folder(task_name)}/verdicts")


def _key(task_name: str, note: Note) -> str:
    return check_key(f"{_folder(task_name)}/{note.counter}-{note.token}{SUFFIX}")
