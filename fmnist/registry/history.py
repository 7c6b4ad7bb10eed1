"""The history of a task's champions: the moves of the pointer, each a promotion or a rollback."""

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from fmnist.storage.records import check_fields

MoveReason = Literal["promoted", "rolled back"]
PROMOTED: MoveReason = "promoted"
ROLLED_BACK: MoveReason = "rolled back"
RUN = re.compile("[A-Za-z0-9][A-Za-z0-9._-]*")  # a network of a user's own has a dot in its name
OLD_MOVE_FIELDS: dict[str, type] = {
    "counter": int, "run": str, "reason": str, "command": str, "time": str,
}  # fmt: skip
MOVE_FIELDS = OLD_MOVE_FIELDS | {"token": str}


@dataclass(frozen=True, kw_only=True)
class ChampionMove:
    """One move of the pointer: `run` became champion by a promotion or a rollback, see `reason`.

    `time` is UTC, for people. Each move has its own `token`; moves from before there were tokens
    have an empty one.
    """

    counter: int  # the move's number
    run: str
    reason: MoveReason
    command: str
    time: str
    token: str = ""


def parse_history(moves: list[Any], where: str) -> tuple[ChampionMove, ...]:
    """Returns the moves of parsed JSON; UserError names the first that has not its fields."""
    for number, move in enumerate(moves, start=1):
        old = isinstance(move, dict) and "token" not in move
        expected = OLD_MOVE_FIELDS if old else MOVE_FIELDS
        check_fields(move, expected, f"{where}: move {number} of its history")
    return tuple(ChampionMove(**move) for move in moves)


def champions_not_rolled_back(history: tuple[ChampionMove, ...]) -> list[str]:
    """Returns the champions that were not rolled back, the oldest first.

    Returns an empty list for a history that no promotions and rollbacks can have made.
    """
    stack: list[str] = []
    for move in history:
        if move.reason == PROMOTED:
            stack.append(move.run)
        elif move.reason == ROLLED_BACK and stack[-2:-1] == [move.run]:
            stack.pop()
        else:
            return []
    return stack


def runs_rolled_back(history: tuple[ChampionMove, ...]) -> frozenset[str]:
    """Returns the runs that were rolled back, and that have not become champion again since."""
    rolled_back: set[str] = set()
    for before, move in pairwise(history):
        if move.reason == ROLLED_BACK:
            rolled_back.add(before.run)
        rolled_back.discard(move.run)
    return frozenset(rolled_back)


def history_problem(history: tuple[ChampionMove, ...]) -> str | None:
    """Says what is impossible in a history, or returns None."""
    numbers = [move.counter for move in history]
    if not numbers or numbers != list(range(1, len(numbers) + 1)):
        return f"history has the counters {numbers}, expected 1, 2, 3 and so on"
    for move in history:
        if not RUN.fullmatch(move.run):
            return f"run is {move.run!r}, expected letters, digits and any of ._-"
    if not champions_not_rolled_back(history):
        return f"history has reasons that cannot be, expected {PROMOTED} or {ROLLED_BACK}"
    return None
