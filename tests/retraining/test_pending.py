"""Pending promotions: they are read as they were written, and know whether they happened."""

import json
from dataclasses import replace

import numpy as np
import pytest

from fmnist.errors import UserError
from fmnist.registry.champion import promote, read_champion
from fmnist.retraining.gate import Gate, apply_gate
from fmnist.retraining.pending import (
    PendingPromotion,
    delete_impossible,
    delete_pending,
    read_pending,
    write_pending,
)
from fmnist.retraining.result import ChampionVersion, RetrainingResult
from fmnist.storage.open import Storage, open_storage
from tests.support.registries import publish_empty

LABELS = np.arange(20) % 4
RESULT = RetrainingResult(
    outcome="promoted",
    reason="It is better.",
    before=ChampionVersion(run="a", counter=1),
    after=ChampionVersion(run="b", counter=2),
    gate=Gate(),
    decision=apply_gate(LABELS, LABELS * 0, LABELS, Gate()),
    evaluations={"champion": {"accuracy": 0.25}, "challenger": {"accuracy": 1.0}},
)


@pytest.fixture
def storage(storage_uri: str) -> Storage:
    """A storage with three runs, of which one is champion."""
    storage = open_storage(storage_uri)
    for run in "abc":
        publish_empty(storage, run)
    move(storage, "a")
    return storage


def move(storage: Storage, run: str, pending: PendingPromotion | None = None) -> None:
    expected = read_champion(storage, "shapes")
    token = pending.token if pending else None
    assert promote(storage, "shapes", run, expected=expected, command="", token=token)


def test_a_note_says_the_same_when_its_move_has_come(storage: Storage) -> None:
    pending = write_pending(storage, "shapes", RESULT, seed=7)
    assert read_pending(storage, "shapes") == [pending]
    assert not pending.happened(read_champion(storage, "shapes"))
    move(storage, "b", pending)
    champion = read_champion(storage, "shapes")
    assert champion is not None and pending.happened(champion)
    assert pending.result_now(champion) == RESULT
    move(storage, "c")
    champion = read_champion(storage, "shapes")
    assert champion is not None and pending.happened(champion)
    later = pending.result_now(champion)
    assert (
        later.after == ChampionVersion(run="c", counter=3)
        and "moved on since, to c" in later.reason
    )
    assert replace(later, after=RESULT.after, reason=RESULT.reason) == RESULT
    delete_pending(storage, "shapes", pending)
    assert read_pending(storage, "shapes") == []


def test_the_same_move_by_somebody_else_is_another_one(storage: Storage) -> None:
    pending = write_pending(storage, "shapes", RESULT, seed=7)
    move(storage, "b")
    assert not pending.happened(read_champion(storage, "shapes"))


def test_only_notes_of_moves_that_cannot_come_are_void(storage: Storage) -> None:
    lost, won = (write_pending(storage, "shapes", RESULT, seed=7) for _ in range(2))
    after = ChampionVersion(run="c", counter=3)
    to_come = write_pending(storage, "shapes", replace(RESULT, after=after), seed=7)
    delete_impossible(storage, "shapes", read_champion(storage, "shapes"))
    assert set(pending.token for pending in read_pending(storage, "shapes")) == {
        lost.token, won.token, to_come.token,
    }  # fmt: skip
    move(storage, "b", won)
    delete_impossible(storage, "shapes", read_champion(storage, "shapes"))
    assert read_pending(storage, "shapes") == [to_come, won]


def test_an_altered_note_is_named(storage: Storage) -> None:
    write_pending(storage, "shapes", RESULT, seed=7)
    (key,) = storage.keys("registry/shapes/verdicts")
    fields = json.loads(storage.read(key))
    fields["verdict"]["decision"]["p"] = 0.5
    altered = json.dumps(fields)
    for content, problem in (
        (altered, "found other content than was written"),
        (altered.replace("0.5", "1e999"), "found no JSON"),
        ("{", "found no JSON"),
        ("{}", "expected the fields counter"),
    ):
        storage.write(key, content.encode())
        with pytest.raises(UserError, match=rf"verdicts/2-\w+\.json: .*{problem}"):
            read_pending(storage, "shapes")
