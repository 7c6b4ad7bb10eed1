"""Promotions and rollbacks move the pointer to the champion, if it was not moved meanwhile."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from fmnist.errors import UserError
from fmnist.registry.champion import Champion, pointer_key, promote, read_champion, rollback
from fmnist.storage.open import Storage, open_storage
from tests.support.registries import publish_empty
from tests.support.samples import SHAPES

KEY = "registry/shapes/champion.json"


@pytest.fixture
def storage(storage_uri: str) -> Storage:
    """A storage with four runs that may become champion."""
    storage = open_storage(storage_uri)
    for run in "abcd":
        publish_empty(storage, run)
    return storage


def promote_all(storage: Storage, runs: str) -> Champion:
    for run in runs:
        moved = move(storage, run, read_champion(storage, "shapes"))
        assert moved is not None
    return moved


def move(storage: Storage, run: str, expected: Champion | None) -> Champion | None:
    return promote(storage, "shapes", run, expected=expected, command="a test")


def test_the_pointer_moves_and_remembers(storage: Storage) -> None:
    assert read_champion(storage, "shapes") is None
    promote_all(storage, "ab")
    champion = promote_all(storage, "c")
    assert champion == read_champion(storage, "shapes")
    assert (champion.run, champion.counter, champion.predecessors) == ("c", 3, ("b", "a"))
    moves = [(each.counter, each.run, each.reason, each.command) for each in champion.history]
    assert moves[0] == (1, "a", "promoted", "a test")
    assert [run for _, run, *_ in moves] == ["a", "b", "c"]
    assert read_champion(storage, "fashion") is None


def test_only_who_saw_the_state_that_still_holds_may_move_it(storage: Storage) -> None:
    first = promote_all(storage, "a")
    assert move(storage, "b", None) is None
    second = promote_all(storage, "b")
    third = promote_all(storage, "a")  # the same champion as at first, but after another move
    assert move(storage, "c", first) is None
    assert move(storage, "c", second) is None
    assert read_champion(storage, "shapes") == third


@pytest.mark.parametrize("before", ["", "a"])
def test_of_many_at_once_one_wins(storage: Storage, before: str) -> None:
    expected = promote_all(storage, before) if before else None
    with ThreadPoolExecutor(6) as pool:
        tries = [pool.submit(move, storage, run, expected) for run in "bcdbcd"]
        won = [moved for each in tries if (moved := each.result())]
    assert len(won) == 1
    assert read_champion(storage, "shapes") == won[0]


def test_rollbacks_in_turn_go_back_step_by_step(storage: Storage) -> None:
    promote_all(storage, "abc")
    once = rollback(storage, "shapes", command="a test")
    assert (once.run, once.counter, once.history[-1].reason) == ("b", 4, "rolled back")
    assert once.rolled_back == {"c"}
    twice = rollback(storage, "shapes", command="a test")
    assert (twice.run, twice.counter, twice.rolled_back) == ("a", 5, {"b", "c"})
    with pytest.raises(UserError, match=r"champion a has no predecessor"):
        rollback(storage, "shapes", command="a test")
    later = promote_all(storage, "d")
    assert (later.counter, later.predecessors) == (6, ("a",))
    assert promote_all(storage, "c").rolled_back == {"b"}


def test_who_was_rolled_back_stays_so_though_it_was_champion_before(storage: Storage) -> None:
    promote_all(storage, "aba")
    assert rollback(storage, "shapes", command="a test").rolled_back == {"a"}
    assert rollback(storage, "shapes", command="a test").run == "a"
    assert promote_all(storage, "c").rolled_back == {"b"}


def test_a_rollback_without_a_champion_or_to_a_run_that_is_gone_is_refused(
    storage: Storage,
) -> None:
    with pytest.raises(UserError, match=r"champion\.json: there is no champion"):
        rollback(storage, "shapes", command="a test")
    before = promote_all(storage, "ab")
    storage.delete("runs/a/manifest.json")
    with pytest.raises(UserError, match="runs/a: found no manifest"):
        rollback(storage, "shapes", command="a test")
    assert read_champion(storage, "shapes") == before


def test_the_pointer_never_leads_to_what_is_not_whole(storage: Storage) -> None:
    storage.write("runs/half/checkpoints/1", b"")
    publish_empty(storage, "other", task=replace(SHAPES, name="x"))
    publish_empty(storage, "table", kind="comparison")
    for run, problem in (
        ("half", "runs/half: found no manifest"),
        ("absent", "runs/absent: found no manifest"),
        ("other", "runs/other: is a run of task 'x', expected 'shapes'"),
        ("table", "runs/table: found 'comparison', expected a run"),
        ("../a", "storage key"),
    ):
        with pytest.raises(UserError, match=problem):
            move(storage, run, None)
    assert read_champion(storage, "shapes") is None


def test_a_run_with_a_network_of_the_users_own_becomes_champion(storage: Storage) -> None:
    run = "shapes-my_net.1f0c9a2e77b4-08638a3a0d12"
    publish_empty(storage, run)
    moved = move(storage, run, None)
    assert moved is not None and moved.run == run
    assert read_champion(storage, "shapes") == moved


def test_a_move_that_no_reader_would_take_is_not_written(storage: Storage) -> None:
    publish_empty(storage, "a b")
    with pytest.raises(UserError, match=rf"{KEY}: run is 'a b', expected letters.*nothing was"):
        move(storage, "a b", None)
    assert read_champion(storage, "shapes") is None


MOVE = {"counter": 1, "run": "a", "reason": "promoted", "command": "", "time": "", "token": "1"}
GOOD = {"task": "shapes", "counter": 1, "run": "a", "history": [MOVE]}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "found no JSON"),
        (b"\xff", "found no JSON"),
        (b"[" * 100_000, "found no JSON"),
        ([], "found list, expected the fields task, counter, run, history"),
        ({"run": "a"}, "found run, expected the fields"),
        (GOOD | {"counter": True}, "counter is True, expected int"),
        (GOOD | {"counter": 2}, "counter is 2, expected 1"),
        (GOOD | {"run": "b"}, "run is 'b', expected 'a'"),
        (GOOD | {"task": "fashion"}, "task is 'fashion', expected 'shapes'"),
        (GOOD | {"history": []}, r"history has the counters \[\]"),
        (GOOD | {"history": [MOVE, MOVE]}, r"history has the counters \[1, 1\]"),
        (GOOD | {"history": ["a"]}, "move 1 of its history: found str"),
        (GOOD | {"history": [MOVE | {"run": 5}]}, "move 1 of its history: run is 5"),
        (GOOD | {"history": [MOVE | {"token": 5}]}, "move 1 of its history: token is 5"),
        (
            GOOD | {"run": "../../x", "history": [MOVE | {"run": "../../x"}]},
            "run is '../../x', expected letters",
        ),
        (GOOD | {"history": [MOVE | {"reason": "bribed"}]}, "reasons that cannot be"),
        (GOOD | {"history": [MOVE | {"reason": "rolled back"}]}, "reasons that cannot be"),
    ],
)
def test_a_damaged_pointer_is_named(tmp_path, content: object, problem: str) -> None:
    storage = open_storage(str(tmp_path))
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    storage.write(KEY, data)
    with pytest.raises(UserError, match=rf"^{storage.uri}/{KEY}: .*{problem}"):
        read_champion(storage, "shapes")


def test_a_pointer_of_moves_without_tokens_is_read_and_moved_on(storage: Storage) -> None:
    """Pointers of older versions have no tokens."""
    old = [MOVE | {"run": run, "counter": counter} for counter, run in enumerate("ab", start=1)]
    for move_ in old:
        del move_["token"]
    fields = {"task": "shapes", "counter": 2, "run": "b", "history": old}
    storage.write(KEY, json.dumps(fields).encode())
    before = read_champion(storage, "shapes")
    assert before is not None and [each.token for each in before.history] == ["", ""]
    after = promote_all(storage, "c")
    assert after.history[:2] == before.history and after == read_champion(storage, "shapes")
    assert after.history[2].token


def test_a_task_cannot_lead_out_of_the_registry() -> None:
    assert pointer_key("shapes") == KEY
    for name in ("", "..", "../fashion", "a//b"):
        with pytest.raises(UserError, match="storage key"):
            pointer_key(name)
