"""Checks that a registry's history agrees with the logs of the processes that changed it.

A process logs a line of JSON before and after each action; an action during which it died has no
second line. Each action has a `command` of its own, by which the history names it.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fmnist.registry.champion import Champion, read_champion
from fmnist.runs.ids import run_folder
from fmnist.storage.manifest import read_manifest
from fmnist.storage.open import Storage


@dataclass(frozen=True, kw_only=True)
class Told:
    """An action of process `who` as it was logged; a list of them is in the order of the log.

    `moved` is None where nobody knows: the process died, or the storage failed. `seen` and `now`
    are the champion's counters before and after, 0 without one; `now` is None as `moved` is.
    `pruned` holds the runs that a prune has removed.
    """

    who: str
    command: str
    action: str
    seen: int
    moved: bool | None = None
    run: str = ""
    now: int | None = None
    pruned: Sequence[str] = ()


def read_log(path: Path) -> list[Told]:
    """Reads the actions of one process, without a line that was cut when the process died."""
    told: dict[str, Told] = {}
    for line in path.read_text().splitlines(keepends=True):
        if line.endswith("\n"):
            fields = json.loads(line)
            told[fields["command"]] = Told(**fields)
    return list(told.values())


def check_registry(
    storage: Storage, task_name: str, told: Iterable[Told], *, keep_champions: int
) -> Champion:
    """Raises AssertionError for lost, doubled or unknown moves, and for a pruned champion."""
    champion = read_champion(storage, task_name)  # this also checks that counters have no gap
    assert champion is not None
    actions = list(told)
    check_moves(champion, actions)
    _check_whole(storage, champion.run)
    for action in actions:
        if action.action == "prune":
            _check_prune(champion, action, keep_champions)
    pruned = {run for action in actions for run in action.pruned}
    unknown = any(action.action == "prune" and action.now is None for action in actions)
    for run in {move.run for move in champion.history} - pruned:
        if not unknown:
            _check_whole(storage, run)
    return champion


def check_moves(champion: Champion, told: Sequence[Told]) -> None:
    """Checks that the history has all moves that succeeded, once and in order, and no others."""
    moves = {move.command: move for move in champion.history}
    assert len(moves) == len(champion.history), "a move is there twice"
    assert moves.keys() <= {action.command for action in told}, "a move is nobody's"
    last: dict[str, int] = {}
    for action in told:
        move = moves.get(action.command)
        if action.moved:
            assert move is not None, f"lost: {action}"
            assert (move.counter, move.run) == (action.now, action.run), f"{move} for {action}"
            assert move.counter > max(action.seen, last.get(action.who, 0)), f"order: {action}"
            last[action.who] = move.counter
        elif action.moved is not None:
            assert move is None, f"{action} was told that it had not moved: {move}"


def _check_prune(champion: Champion, prune: Told, keep_champions: int) -> None:
    """Checks that each pruned run was removable at some time, and not champion after the prune.

    That time may be before this prune, because it may finish the work of another prune.
    """
    assert prune.now is not None or not prune.pruned
    for run in prune.pruned:
        counters = [move.counter for move in champion.history if move.run == run]
        last = max(counters, default=0)
        assert prune.now is not None and last <= prune.now, f"moved to {run} after {prune}"
        assert any(
            run not in _kept(champion, counter, keep_champions)
            for counter in range(last, prune.now + 1)
        ), f"{run} was kept all the time: {prune}"


def _kept(champion: Champion, counter: int, keep: int) -> set[str]:
    """Returns the champion after that move, and the former ones that a prune must keep."""
    if counter == 0:
        return set()
    then = replace(champion, history=champion.history[:counter])
    former = [run for run in dict.fromkeys(then.predecessors) if run != then.run]
    return {then.run, *former[:keep]}


def _check_whole(storage: Storage, run: str) -> None:
    manifest = read_manifest(storage, run_folder(run))
    assert manifest is not None, f"{run} is not whole"
    for name, entry in manifest.files.items():
        found = storage.digest(f"{run_folder(run)}/{entry.path}")
        assert (found.size, found.sha256) == (entry.size, entry.sha256), f"{run}: {name}"
