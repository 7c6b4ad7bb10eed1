"""Which run is a task's champion: one pointer, moved by compare-and-swap, with its history.

It lies in `registry/<task>/champion.json`. Each move has a number of its own, one above the last,
so that no two states have the same content, and who saw a state can tell whether it still holds.
"""

import json
import re
import secrets
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from fmnist.errors import UserError
from fmnist.registry.candidates import claim, registry_folder
from fmnist.runs.ids import run_folder
from fmnist.runs.published import task_of_run
from fmnist.storage.open import Storage, check_key
from fmnist.storage.records import check_fields, read_record

PROMOTED = "promoted"
ROLLED_BACK = "rolled back"
RUN = re.compile("[A-Za-z0-9-]+")
SUPERSEDED = '"superseded"'  # the version of no content
FIELDS: dict[str, type] = {"task": str, "counter": int, "run": str, "history": list}
OLD_MOVE_FIELDS: dict[str, type] = {
    "counter": int, "run": str, "reason": str, "command": str, "time": str,
}  # fmt: skip
MOVE_FIELDS = OLD_MOVE_FIELDS | {"token": str}


@dataclass(frozen=True, kw_only=True)
class Move:
    """One state of the pointer, and how it came about; `time` is UTC, for people.

    No two moves have the same `token`, but for old ones, which have none.
    """

    counter: int
    run: str
    reason: str
    command: str
    time: str
    token: str = ""


@dataclass(frozen=True, kw_only=True)
class Champion:
    """The state of a task's pointer; `history` begins with the first and ends with this one."""

    task: str
    history: tuple[Move, ...]
    version: str  # of the file, for the next compare-and-swap

    @property
    def run(self) -> str:
        return self.history[-1].run

    @property
    def counter(self) -> int:
        return self.history[-1].counter

    @cached_property
    def predecessors(self) -> tuple[str, ...]:
        """The runs that rollbacks in turn would go back to, the nearest first."""
        return tuple(reversed(_standing(self.history)[:-1]))

    @property
    def withdrawn(self) -> frozenset[str]:
        """Runs that were champion until somebody rolled them back."""
        standing = {self.run, *self.predecessors}
        rolled_back = {
            before.run
            for before, move in zip(self.history, self.history[1:], strict=False)
            if move.reason == ROLLED_BACK
        }
        return frozenset(rolled_back - standing)


def champion_key(task_name: str) -> str:
    """Where in the storage root a task's pointer lies."""
    return check_key(f"{registry_folder(task_name)}/champion.json")


def read_champion(storage: Storage, task_name: str) -> Champion | None:
    """The task's champion, or None; UserError naming file and field if the file is damaged."""
    key = champion_key(task_name)
    found = read_record(storage, key, FIELDS, "a champion")
    if found is None:
        return None
    fields, where = found[0], f"{storage.uri}/{key}"
    for number, move in enumerate(fields["history"], start=1):
        old = isinstance(move, dict) and "token" not in move
        expected = OLD_MOVE_FIELDS if old else MOVE_FIELDS
        check_fields(move, expected, f"{where}: move {number} of its history")
    history = tuple(Move(**move) for move in fields["history"])
    if problem := _problem(fields, history, task_name):
        raise UserError(f"{where}: {problem}")
    return Champion(task=task_name, history=history, version=found[1])


def promote(
    storage: Storage,
    task_name: str,
    run: str,
    *,
    expected: Champion | None,
    command: str,
    token: str | None = None,
) -> Champion | None:
    """Makes a run the champion if `expected` still is; None: somebody else moved the pointer.

    The move has this token, or a new one. Raises UserError for a run that is not published whole,
    is of another task or is being pruned.
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

    Raises UserError where there is none, where it is not there any more, and where somebody else
    moves the pointer at the same time.
    """
    champion, run = find_predecessor(storage, task_name)
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
            f"{storage.uri}/{champion_key(task_name)}: somebody else moved the champion just now, "
            f"expected {champion.run}; nothing was rolled back"
        )
    return moved


def find_predecessor(storage: Storage, task_name: str) -> tuple[Champion, str]:
    """The champion, and the run that a rollback would make champion; UserError where none is."""
    champion = read_champion(storage, task_name)
    where = f"{storage.uri}/{champion_key(task_name)}"
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
    reason: str,
    command: str,
    token: str,
) -> Champion | None:
    claim(storage, task_name, run)  # first: from now on, nobody prunes it
    task = task_of_run(storage, run_folder(run))
    if task.name != task_name:
        raise UserError(
            f"{storage.uri}/{run_folder(run)}: is a run of task {task.name!r}, "
            f"expected {task_name!r}"
        )
    move = Move(
        counter=1 if expected is None else expected.counter + 1,
        run=run,
        reason=reason,
        command=command,
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        token=token,
    )
    history = (*(expected.history if expected else ()), move)
    version = expected.version if expected else None
    written = storage.replace(
        champion_key(task_name), _content(task_name, history), version=version
    )
    now = read_champion(storage, task_name)
    if now is not None and now.history == history:
        return now
    if not written and (now is None or move not in now.history):
        return None
    # The pointer has moved on from here already: no compare-and-swap from here may succeed. And
    # storage whose answer was lost says "not written" if somebody was on top of it before it asked.
    return Champion(task=task_name, history=history, version=SUPERSEDED)


def _content(task_name: str, history: tuple[Move, ...]) -> bytes:
    fields = {"task": task_name, "counter": history[-1].counter, "run": history[-1].run}
    return json.dumps(
        fields | {"history": [asdict(each) for each in history]}, indent=1, allow_nan=False
    ).encode()


def _standing(history: tuple[Move, ...]) -> list[str]:
    """The champions that were not rolled back, the oldest first; empty for no possible history."""
    stack: list[str] = []
    for move in history:
        if move.reason == PROMOTED:
            stack.append(move.run)
        elif move.reason == ROLLED_BACK and stack[-2:-1] == [move.run]:
            stack.pop()
        else:
            return []
    return stack


def _problem(fields: dict[str, Any], history: tuple[Move, ...], task_name: str) -> str | None:
    if fields["task"] != task_name:
        return f"task is {fields['task']!r}, expected {task_name!r}"
    numbers = [move.counter for move in history]
    if not numbers or numbers != list(range(1, len(numbers) + 1)):
        return f"history has the counters {numbers}, expected 1, 2, 3 and so on"
    for name, last in (("counter", history[-1].counter), ("run", history[-1].run)):
        if fields[name] != last:
            return f"{name} is {fields[name]!r}, expected {last!r} as its history ends"
    for move in history:
        if not RUN.fullmatch(move.run):
            return f"run is {move.run!r}, expected letters, digits and hyphens"
    if not _standing(history):
        return f"history has reasons that cannot be, expected {PROMOTED} or {ROLLED_BACK}"
    return None
