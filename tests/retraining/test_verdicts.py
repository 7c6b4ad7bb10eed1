"""The note of a verdict: what is read is what was written, and it tells whether its move came."""

import json
from dataclasses import replace

import numpy as np
import pytest

from fmnist.errors import UserError
from fmnist.registry.champion import promote, read_champion
from fmnist.retraining.gate import Gate, judge
from fmnist.retraining.verdicts import (
    Note,
    State,
    Verdict,
    delete_note,
    delete_void_notes,
    read_notes,
    write_note,
)
from fmnist.storage.open import Storage, open_storage
from tests.support.registries import publish_empty

LABELS = np.arange(20) % 4
VERDICT = Verdict(
    outcome="promoted",
    reason="It is better.",
    before=State(run="a", counter=1),
    after=State(run="b", counter=2),
    gate=Gate(),
    decision=judge(LABELS, LABELS * 0, LABELS, Gate()),
    evaluations={"champion": {"accuracy": 0.25}, "challenger": {"accuracy": 1.0}},
)


@pytest.fixture
def storage(storage_uri: str) -> Storage:
    """With three runs, of which one is champion."""
    storage = open_storage(storage_uri)
    for run in "abc":
        publish_empty(storage, run)
    move(storage, "a")
    return storage


def move(storage: Storage, run: str, note: Note | None = None) -> None:
    expected = read_champion(storage, "shapes")
    token = note.token if note else None
    assert promote(storage, "shapes", run, expected=expected, command="", token=token)


def test_a_note_says_the_same_when_its_move_has_come(storage: Storage) -> None:
    note = write_note(storage, "shapes", VERDICT, seed=7)
    assert read_notes(storage, "shapes") == [note]
    assert not note.happened(read_champion(storage, "shapes"))
    move(storage, "b", note)
    champion = read_champion(storage, "shapes")
    assert champion is not None and note.happened(champion)
    assert note.verdict_now(champion) == VERDICT
    move(storage, "c")
    champion = read_champion(storage, "shapes")
    assert champion is not None and note.happened(champion)
    later = note.verdict_now(champion)
    assert later.after == State(run="c", counter=3) and "moved on since, to c" in later.reason
    assert replace(later, after=VERDICT.after, reason=VERDICT.reason) == VERDICT
    delete_note(storage, "shapes", note)
    assert read_notes(storage, "shapes") == []


def test_the_same_move_by_somebody_else_is_another_one(storage: Storage) -> None:
    note = write_note(storage, "shapes", VERDICT, seed=7)
    move(storage, "b")
    assert not note.happened(read_champion(storage, "shapes"))


def test_only_notes_of_moves_that_cannot_come_are_void(storage: Storage) -> None:
    lost, won = (write_note(storage, "shapes", VERDICT, seed=7) for _ in range(2))
    after = State(run="c", counter=3)
    to_come = write_note(storage, "shapes", replace(VERDICT, after=after), seed=7)
    delete_void_notes(storage, "shapes", read_champion(storage, "shapes"))
    assert set(note.token for note in read_notes(storage, "shapes")) == {
        lost.token, won.token, to_come.token,
    }  # fmt: skip
    move(storage, "b", won)
    delete_void_notes(storage, "shapes", read_champion(storage, "shapes"))
    assert read_notes(storage, "shapes") == [to_come, won]


def test_an_altered_note_is_named(storage: Storage) -> None:
    write_note(storage, "shapes", VERDICT, seed=7)
    (key,) = storage.keys("registry/shapes/verdicts")
    fields = json.loads(storage.read(key))
    fields["verdict"]["decision"]["p"] = 0.5
    for content, problem in (
        (json.dumps(fields), "found other content than was written"),
        ("{", "found no JSON"),
        ("{}", "expected the fields counter"),
    ):
        storage.write(key, content.encode())
        with pytest.raises(UserError, match=rf"verdicts/2-\w+\.json: .*{problem}"):
            read_notes(storage, "shapes")
