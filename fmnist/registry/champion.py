"""The champion: the run whose model scores a task's images, and the history of former champions.

The pointer to it is the file `registry/<task>/champion.json`, which changes by compare-and-swap.
Each change is a move with a number, one above the last. So no two states of the file have the same
content, and a job that has read one can tell whether it is still the current one.
"""

import json
import secrets
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from fmnist.errors import UserError
from fmnist.registry.candidates import protect_from_pruning, registry_folder
from fmnist.registry.history import (
    PROMOTED,
    ROLLED_BACK,
    ChampionMove,
    MoveReason,
    champions_not_rolled_back,
    history_problem,
    parse_history,
    runs_rolled_back,
)
from fmnist.runs.ids import run_folder
from fmnist.runs.published import task_of_run
from fmnist.storage.open import Storage, check_key
from fmnist.storage.records import read_record

FIELDS: dict[str, type] = {"task": str, "counter": int, "run": str, "history": list}
SUPERSEDED = '"superseded"'  # a version that no file has


@dataclass(frozen=True, kw_only=True)
class Champion:
    """A task's champion as it was read; `history` has all moves, the one that made it last."""

    history: tuple[ChampionMove, ...]
    version: str  # of the file, for the next compare-and-swap

    @property
    def run(self) -> str:
        return self.history[-1].run

    @property
    def counter(self) -> int:
        return self.history[-1].counter

    @cached_property
    def predecessors(self) -> tuple[str, ...]:
        """Runs that repeated rollbacks would return to, the first one first."""
        return tuple(reversed(champions_not_rolled_back(self.history)[:-1]))

    @property
    def rolled_back(self) -> frozenset[str]:
        """Runs that were champion, were rolled back, and were not promoted again since."""
        return runs_rolled_back(self.history)


def pointer_key(task_name: str) -> str:
    """Key in the storage of the file that names a task's champion."""
    return check_key(f"{registry_folder(task_name)}/champion.json")


def read_champion(storage: Storage, task_name: str) -> Champion | None:
    """Returns the task's champion, or None; UserError names file and field if it is damaged."""
    key = pointer_key(task_name)
    found = read_record(storage, key, FIELDS, "a champion")
    if found is None:
        return None
    fields, where = found[0], f"{storage.uri}/{key}"
    history = parse_history(fields["history"], where)
    if problem := _problem(fields, history, task_name):
        raise UserError(f"{where}: {problem}")
    return Champion(history=history, version=found[1])


def promote(
    storage: Storage,
    task_name: str,
    run: str,
    *,
    expected: Champion | None,
    command: str,
    token: str | None = None,
) -> Champion | None:
    """Makes a run the champion; None if somebody else has moved the pointer since `expected`.

    The move gets this `token`, or a new one. Raises UserError for a run that is not finished,
    belongs to another task or is being pruned.
    """
    return _move(
        storage,
        task_name,
        run,
        expected=expected,
        reason=PROMOTED,
        command=command,
        token=token or secrets.token_hex(8),
    )


def rollback(storage: Storage, task_name: str, *, command: str) -> Champion:
    """Makes the champion's predecessor champion again; called again, the one before it.

    Raises UserError if there is no predecessor, if it was pruned, and if somebody else moves the
    pointer at the same time.
    """
    champion, run = find_rollback_target(storage, task_name)
    moved = _move(
        storage,
        task_name,
        run,
        expected=champion,
        reason=ROLLED_BACK,
        command=command,
        token=secrets.token_hex(8),
    )
    if moved is None:
        raise UserError(
            f"{storage.uri}/{pointer_key(task_name)}: somebody else moved the champion just now, "
            f"expected {champion.run}; nothing was rolled back"
        )
    return moved


def find_rollback_target(storage: Storage, task_name: str) -> tuple[Champion, str]:
    """Returns the champion, and the run that a rollback makes champion; UserError without one."""
    champion = read_champion(storage, task_name)
    where = f"{storage.uri}/{pointer_key(task_name)}"
    if champion is None:
        raise UserError(f"{where}: there is no champion that could be rolled back")
    if not champion.predecessors:
        raise UserError(f"{where}: champion {champion.run} has no predecessor to roll back to")
    return champion, champion.predecessors[0]


def _move(
    storage: Storage,
    task_name: str,
    run: str,
    *,
    expected: Champion | None,
    reason: MoveReason,
    command: str,
    token: str,
) -> Champion | None:
    protect_from_pruning(storage, task_name, run)  # before the checks, so that they stay true
    task = task_of_run(storage, run_folder(run))
    if task.name != task_name:
        raise UserError(
            f"{storage.uri}/{run_folder(run)}: is a run of task {task.name!r}, "
            f"expected {task_name!r}"
        )
    move = ChampionMove(
        counter=1 if expected is None else expected.counter + 1,
        run=run,
        reason=reason,
        command=command,
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        token=token,
    )
    history = (*(expected.history if expected else ()), move)
    if problem := history_problem(history):  # before it is written, since no reader would take it
        raise UserError(f"{storage.uri}/{pointer_key(task_name)}: {problem}; nothing was moved")
    version = expected.version if expected else None
    written = storage.replace(pointer_key(task_name), _content(task_name, history), version=version)
    now = read_champion(storage, task_name)
    if now is not None and now.history == history:
        return now
    if not written and (now is None or move not in now.history):
        return None
    # This move was made, and another one has followed already: a compare-and-swap from the state
    # that is returned must fail. `written` can be wrong here: if S3's answer was lost and somebody
    # else moved the pointer before the storage asked again, it says that nothing was written.
    return Champion(history=history, version=SUPERSEDED)


def _content(task_name: str, history: tuple[ChampionMove, ...]) -> bytes:
    fields = {"task": task_name, "counter": history[-1].counter, "run": history[-1].run}
    return json.dumps(
        fields | {"history": [asdict(each) for each in history]}, indent=1, allow_nan=False
    ).encode()


def _problem(
    fields: dict[str, Any], history: tuple[ChampionMove, ...], task_name: str
) -> str | None:
    """Says what is wrong with the content of a champion's file, or returns None."""
    if fields["task"] != task_name:
        return f"task is {fields['task']!r}, expected {task_name!r}"
    if problem := history_problem(history):
        return problem
    for name, last in (("counter", history[-1].counter), ("run", history[-1].run)):
        if fields[name] != last:
            return f"{name} is {fields[name]!r}, expected {last!r} as its history ends"
    return None
