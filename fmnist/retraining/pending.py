"""Pending promotions: written before the pointer moves, so that a job that dies loses no result.

A pending promotion is a file in `registry/<task>/verdicts/` with the token of the move that it is
about. If a move with this token is in the champion's history, the promotion happened. If another
move has its number, the promotion never will. The file is deleted when the retraining's summary,
which holds the same result, is published.
"""

import json
import secrets
from dataclasses import asdict, dataclass, replace
from typing import Any

from fmnist.errors import UserError
from fmnist.registry.candidates import registry_folder
from fmnist.registry.champion import Champion
from fmnist.retraining.gate import Gate, GateDecision
from fmnist.retraining.result import ChampionVersion, RetrainingResult
from fmnist.storage.manifest import content_id
from fmnist.storage.open import Storage, check_key
from fmnist.storage.records import read_record

FIELDS: dict[str, type] = {
    "counter": int, "token": str, "run": str, "seed": int, "verdict": dict, "digest": str,
}  # fmt: skip
SUFFIX = ".json"


@dataclass(frozen=True, kw_only=True)
class PendingPromotion:
    """The promotion of `run`, trained with `seed`, by the move with this number and token.

    `result` is the retraining's result if this move happens.
    """

    counter: int
    token: str
    run: str
    seed: int
    result: RetrainingResult

    def happened(self, champion: Champion | None) -> bool:
        """Returns True if the pointer was moved to this run, also if it was moved again since."""
        moves = champion.history if champion else ()
        return any((move.token, move.run) == (self.token, self.run) for move in moves)

    def result_now(self, champion: Champion) -> RetrainingResult:
        """Returns the result for the summary that a later job publishes instead of a dead one.

        If the pointer has moved again, `after` is the present champion, and the reason says so.
        """
        if champion.counter == self.counter:
            return self.result
        reason = (
            f"{self.result.reason} It was promoted by move {self.counter}; the pointer has moved "
            f"on since, to {champion.run} (move {champion.counter})."
        )
        return replace(self.result, reason=reason, after=ChampionVersion.of(champion))


def write_pending(
    storage: Storage, task_name: str, result: RetrainingResult, *, seed: int
) -> PendingPromotion:
    """Writes a pending promotion to `result.after`, whose move will get a new token."""
    pending = PendingPromotion(
        counter=result.after.counter,
        token=secrets.token_hex(8),
        run=result.after.run,
        seed=seed,
        result=result,
    )
    fields = asdict(pending)
    fields["verdict"] = fields.pop("result")
    data = json.dumps(fields | {"digest": _digest(fields)}, indent=1, allow_nan=False)
    storage.write(_key(task_name, pending), data.encode())
    return pending


def read_pending(storage: Storage, task_name: str) -> list[PendingPromotion]:
    """Returns a task's pending promotions, the newest first; UserError names a damaged file."""
    keys = [key for key in storage.keys(_folder(task_name)) if key.endswith(SUFFIX)]
    found = [pending for key in keys if (pending := _read(storage, key))]
    return sorted(found, key=lambda pending: pending.counter, reverse=True)


def delete_pending(storage: Storage, task_name: str, pending: PendingPromotion) -> None:
    """Deletes a pending promotion whose summary is published, or whose move can't happen."""
    storage.delete(_key(task_name, pending))


def delete_impossible(storage: Storage, task_name: str, champion: Champion | None) -> None:
    """Deletes the pending promotions that can't happen, because another move has their number.

    Jobs that died before their move have left them. Those whose move may still come stay.
    """
    for pending in read_pending(storage, task_name):
        if champion and pending.counter <= champion.counter and not pending.happened(champion):
            delete_pending(storage, task_name, pending)


def _read(storage: Storage, key: str) -> PendingPromotion | None:
    found = read_record(storage, key, FIELDS, "a verdict")
    if found is None:  # it was deleted after the listing
        return None
    fields: dict[str, Any] = found[0]
    digest = fields.pop("digest")
    if digest != (found_digest := _digest(fields)):
        raise UserError(
            f"{storage.uri}/{key}: found other content than was written (digest {found_digest}, "
            f"expected {digest})"
        )
    return PendingPromotion(result=_parse_result(fields.pop("verdict")), **fields)


def _parse_result(fields: dict[str, Any]) -> RetrainingResult:
    before, decision = fields["before"], fields["decision"]
    if decision:
        decision = GateDecision(**decision | {"interval": tuple(decision["interval"])})
    parts = {
        "before": ChampionVersion(**before) if before else None,
        "after": ChampionVersion(**fields["after"]),
        "gate": Gate(**fields["gate"]),
        "decision": decision,
    }
    return RetrainingResult(**fields | parts)


def _digest(fields: dict[str, Any]) -> str:
    return content_id(json.dumps(fields, sort_keys=True, allow_nan=False))


def _folder(task_name: str) -> str:
    return check_key(f"{registry_folder(task_name)}/verdicts")


def _key(task_name: str, pending: PendingPromotion) -> str:
    return check_key(f"{_folder(task_name)}/{pending.counter}-{pending.token}{SUFFIX}")
