"""No move is lost when processes promote, roll back, train and prune at once and one is killed."""

import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fmnist.registry.candidates import register_candidate
from fmnist.registry.champion import promote, read_champion
from fmnist.storage.open import S3Storage, open_storage
from tests.recovery.support.contender import KEEP_CHAMPIONS
from tests.recovery.support.histories import Told, check_moves, check_registry, read_log
from tests.support.paths import ROOT
from tests.support.registries import publish_empty
from tests.support.servers.faulty import UNAVAILABLE, Exchange, Proxy, faulty, lose, reset
from tests.support.waiting import wait

NAMES = "abcd"
STEPS = 10
FAULTS = {lose: 3, UNAVAILABLE: 2, reset: 1}


class Shaky:
    """Lets one in eight writing requests fail, and one in thirty of the others."""

    def __init__(self, seed: int) -> None:
        self.hits = 0
        self._chance = random.Random(seed)

    def __call__(self, exchange: Exchange) -> None:
        if self._chance.random() > (1 / 8 if exchange.command == "PUT" else 1 / 30):
            return exchange.pass_on()
        self.hits += 1
        (fault,) = self._chance.choices(list(FAULTS), list(FAULTS.values()))
        fault(exchange)


@pytest.fixture
def place(storage_uri: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    """Yields a storage root; on S3, requests to it fail at random."""
    if not storage_uri.startswith("s3:"):
        yield storage_uri, None
        return
    shaky = Shaky(seed=1)
    with faulty(request.getfixturevalue("s3_server")) as between:
        between.fail(shaky)
        monkeypatch.setenv("AWS_ENDPOINT_URL", between.url)
        yield storage_uri, shaky


def contend(uri: str, folder: Path, seed: int) -> None:
    """Runs all contenders at once; the first one is killed in between and started again.

    Prunes of this round take files from before it for a day old, and files from its beginning on
    for young. S3 has times in whole seconds.
    """
    begin = datetime.now(UTC).replace(microsecond=0)
    time.sleep((begin + timedelta(seconds=1) - datetime.now(UTC)).total_seconds())
    now = (begin + timedelta(days=1)).isoformat()

    def start(name: str) -> subprocess.Popen[bytes]:
        line = [sys.executable, "-m", "tests.recovery.support.contender", uri, name]
        steps = 1000 if name == names[0] else STEPS  # it is killed before it has taken so many
        line += [str(seed * 100 + ord(name[0]) + len(name)), str(steps), now, str(folder / name)]
        return subprocess.Popen(line, cwd=ROOT)

    names = [f"{name}{seed}" for name in NAMES]
    running = [start(name) for name in names]
    log = folder / names[0]
    wait(lambda: log.exists() and len(log.read_text().splitlines()) >= STEPS)
    running[0].kill()
    again = start(f"{names[0]}x")
    codes = [process.wait(120) for process in (*running, again)]
    assert codes == [-signal.SIGKILL, *[0] * len(NAMES)]


def test_processes_at_once_lose_no_move_and_no_champion(place, tmp_path: Path) -> None:
    uri, shaky = place
    storage = open_storage(uri)
    for number in range(6):
        register_candidate(storage, "shapes", f"run-{number}")
        publish_empty(storage, f"run-{number}")
    logs = tmp_path / "logs"
    logs.mkdir()
    for seed in (1, 2):
        contend(uri, logs, seed)
        told = [each for log in sorted(logs.iterdir()) for each in read_log(log)]
        champion = check_registry(storage, "shapes", told, keep_champions=KEEP_CHAMPIONS)
    pruned = [run for each in told for run in each.pruned]
    faults = shaky.hits if shaky else 0
    print(f"{len(told)} actions, {champion.counter} moves, {len(pruned)} pruned, {faults} faults")
    assert champion.counter > 10 and pruned
    assert sum(each.moved is False for each in told if each.action == "promote") > 0
    assert faults > 20 or not shaky


def test_the_check_finds_what_it_is_for(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    for run in ("x", "y"):
        publish_empty(storage, run)
        expected = read_champion(storage, "shapes")
        assert promote(storage, "shapes", run, expected=expected, command=f"to {run}")
    champion = read_champion(storage, "shapes")
    assert champion is not None
    x = Told(who="a", command="to x", action="promote", seen=0, moved=True, run="x", now=1)
    y = Told(who="b", command="to y", action="promote", seen=1, moved=True, run="y", now=2)
    lost = Told(who="b", command="to z", action="promote", seen=2, moved=True, run="z", now=3)
    denied = Told(who="b", command="to y", action="promote", seen=1, moved=False, now=2)
    dead = Told(who="b", command="to y", action="promote", seen=1)
    check_moves(champion, [x, y])
    check_moves(champion, [x, dead])
    check_registry(storage, "shapes", [x, y], keep_champions=1)
    for told, problem in (
        ([x], "nobody's"), ([x, y, lost], "lost"), ([x, denied], "told that it had not"),
    ):  # fmt: skip
        with pytest.raises(AssertionError, match=problem):
            check_moves(champion, told)
    away = Told(who="c", command="p", action="prune", seen=2, moved=False, now=2, pruned=["x"])
    check_registry(storage, "shapes", [x, y, away], keep_champions=0)
    for early, problem in (
        (away, "x was kept"), (replace(away, pruned=["y"], now=1), "moved to y after"),
    ):  # fmt: skip
        with pytest.raises(AssertionError, match=problem):
            check_registry(storage, "shapes", [x, y, early], keep_champions=1)
    with pytest.raises(AssertionError, match="y is not whole"):
        storage.delete("runs/y")
        check_registry(storage, "shapes", [x, y], keep_champions=1)


def test_who_moved_is_told_so_although_the_answer_was_lost_and_others_moved_on(
    s3_uri: str, proxy: Proxy, s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the storage reads back its write, another process has written over it already."""
    shaken = open_storage(s3_uri)
    assert isinstance(shaken, S3Storage)
    shaken.check(writable=True)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    steady = open_storage(s3_uri)
    for run in ("a", "b"):
        publish_empty(steady, run)

    def move_on(exchange: Exchange) -> None:
        exchange.ask()
        seen = read_champion(steady, "shapes")
        assert promote(steady, "shapes", "b", expected=seen, command="another job")
        exchange.drop()

    proxy.fail(move_on, times=1, methods=frozenset({"PUT"}), key="champion.json")
    moved = promote(shaken, "shapes", "a", expected=None, command="this job")
    assert proxy.heal() == 1
    assert moved is not None and (moved.run, moved.counter) == ("a", 1)
    assert promote(shaken, "shapes", "a", expected=moved, command="this job") is None
    now = read_champion(steady, "shapes")
    assert now is not None and [move.run for move in now.history] == ["a", "b"]
