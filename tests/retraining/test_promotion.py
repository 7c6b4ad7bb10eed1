"""Compares a challenger with the champion and promotes it, while others move the champion."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fmnist.data.dataset import Dataset
from fmnist.errors import UserError
from fmnist.registry.champion import promote, read_champion, rollback
from fmnist.retraining.gate import Gate
from fmnist.retraining.held_out import hold_out
from fmnist.retraining.pending import read_pending
from fmnist.retraining.promotion import promote_if_better
from fmnist.retraining.result import ChampionVersion
from fmnist.storage.open import Storage, open_storage
from tests.support.challengers import RECIPE, publish_reader, readable
from tests.support.samples import SHAPES


@pytest.fixture
def rivals(tmp_path: Path) -> tuple[Storage, Dataset, str, str, str]:
    """Publishes three runs that know 2, 3 and 4 of 4 classes; returns them with their data."""
    storage, data = open_storage(str(tmp_path)), readable(1)
    runs = [
        publish_reader(storage, data, replace(RECIPE, seed=knows), knows=knows)
        for knows in (2, 3, 4)
    ]
    return storage, data, runs[0], runs[1], runs[2]


def contest(storage: Storage, data: Dataset, run: str, before: Any):
    """Returns the result; checks that only a promotion leaves a pending promotion."""
    result, pending = promote_if_better(
        storage,
        SHAPES,
        run,
        seed=0,
        before=before,
        held_out=hold_out(data, RECIPE),
        gate=Gate(),
        command="a test",
    )
    assert read_pending(storage, "shapes") == ([pending] if pending else [])
    assert bool(pending) == (result.outcome == "promoted")
    if pending:
        assert pending.happened(read_champion(storage, "shapes")) and pending.result == result
    return result


@pytest.mark.usefixtures("ray_cluster")
def test_whoever_is_overtaken_is_judged_against_the_new_champion(
    rivals: tuple[Storage, Dataset, str, str, str],
) -> None:
    storage, data, poor, middle, good = rivals
    other = promote(storage, "shapes", middle, expected=None, command="another night")
    late = contest(storage, data, poor, before=None)
    assert (late.outcome, late.after) == ("overtaken", ChampionVersion.of(other))
    assert late.decision is not None and not late.decision.passed
    same = contest(storage, data, middle, before=None)
    assert (same.outcome, same.after, same.decision) == (
        "overtaken",
        ChampionVersion.of(other),
        None,
    )
    won = contest(storage, data, good, before=None)
    assert (won.outcome, won.after.run, won.after.counter) == ("promoted", good, 2)
    assert [move.run for move in read_champion(storage, "shapes").history] == [middle, good]


@pytest.mark.usefixtures("ray_cluster")
def test_what_an_operator_rolled_back_is_not_promoted_by_who_had_planned_before(
    rivals: tuple[Storage, Dataset, str, str, str],
) -> None:
    """One job has planned when a second one promotes the same run, and somebody rolls it back."""
    storage, data, poor, _, good = rivals
    planned = promote(storage, "shapes", poor, expected=None, command="a test")
    assert promote(storage, "shapes", good, expected=planned, command="another job")
    now = rollback(storage, "shapes", command="an operator")
    late = contest(storage, data, good, before=planned)
    assert (late.outcome, late.after, late.decision) == ("kept", ChampionVersion.of(now), None)
    assert f"{good} was champion until it was rolled back" in late.reason
    assert read_champion(storage, "shapes") == now


@pytest.mark.usefixtures("ray_cluster")
def test_a_champion_that_is_damaged_is_not_judged(
    rivals: tuple[Storage, Dataset, str, str, str],
) -> None:
    storage, data, poor, _, good = rivals
    champion = promote(storage, "shapes", poor, expected=None, command="a test")
    (key,) = [key for key in storage.keys(f"runs/{poor}") if key.endswith("model.keras")]
    storage.write(key, b"something else")
    with pytest.raises(UserError, match=f"{poor}.*: found 14 bytes with SHA-256"):
        contest(storage, data, good, champion)
    assert read_champion(storage, "shapes") == champion
