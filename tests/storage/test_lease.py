"""Leases: a job holds one, and the next job gets it; the clock is a fake."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading

import pytest

from fmnist.storage import lease
from fmnist.storage.lease import EXPIRY, LeaseLost, hold_lease
from fmnist.storage.open import open_storage
from tests.support.paths import ROOT

KEY = "runs/one/lease.json"


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(lease, "time", clock)
    return clock


@pytest.fixture
def storage(storage_uri):
    return open_storage(storage_uri)


def test_a_lease_is_free_again_after_its_block(storage):
    told = []
    with hold_lease(storage, KEY, notify=told.append):
        assert storage.read_version(KEY) is not None
    assert storage.read_version(KEY) is None
    with pytest.raises(RuntimeError), hold_lease(storage, KEY, notify=told.append):
        raise RuntimeError
    assert storage.read_version(KEY) is None and not told


def test_a_lease_is_held_while_its_holder_beats(storage, monkeypatch):
    assert not lease.is_held(storage, KEY)
    with hold_lease(storage, KEY, notify=pytest.fail):
        assert lease.is_held(storage, KEY)
        monkeypatch.setattr(lease, "EXPIRY", -1.0)
        assert not lease.is_held(storage, KEY)


def test_whoever_comes_second_waits_until_the_first_leaves(storage):
    order, told = [], []
    inside, leave = threading.Event(), threading.Event()

    def first():
        with hold_lease(storage, KEY, notify=told.append):
            inside.set()
            leave.wait()
            order.append("first")

    def tell(text):
        told.append(text)
        leave.set()

    thread = threading.Thread(target=first)
    thread.start()
    inside.wait()
    with hold_lease(storage, KEY, notify=tell):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]
    (text,) = told
    assert "waiting for another job that does the same (process " in text


def test_a_dead_process_of_this_machine_loses_its_lease_at_once(storage, clock):
    def die():
        holder = lease.Lease(storage, KEY)
        holder.acquire(print)

    context = multiprocessing.get_context("fork")
    process = context.Process(target=die)
    process.start()
    process.join()
    assert storage.read_version(KEY) is not None
    with hold_lease(storage, KEY, notify=pytest.fail):
        pass
    assert clock.now == 0


def test_a_silent_holder_elsewhere_loses_its_lease_after_a_while(storage, clock):
    storage.write(KEY, json.dumps({"machine": "another", "pid": 1, "beats": 7}).encode())
    with hold_lease(storage, KEY, notify=lambda text: None):
        assert EXPIRY <= clock.now < EXPIRY + 3


@pytest.mark.parametrize("content", [b"", b"[]", b"nonsense", b'{"pid": "../x", "machine": 3}'])
def test_a_damaged_lease_expires_too(storage, clock, content):
    storage.write(KEY, content)
    with hold_lease(storage, KEY, notify=lambda text: None):
        assert json.loads(storage.read(KEY))["beats"] >= 1


def test_a_holder_that_shows_life_keeps_its_lease(storage, clock, monkeypatch):
    """The holder renews its lease while the other job waits, and then releases it."""

    def sleep(seconds):
        clock.now += seconds
        if clock.now < 3 * EXPIRY:
            storage.write(KEY, json.dumps({"machine": "another", "beats": clock.now}).encode())
        else:
            storage.delete(KEY)

    monkeypatch.setattr(clock, "sleep", sleep)
    sleep(0)
    with hold_lease(storage, KEY, notify=lambda text: None):
        assert clock.now >= 3 * EXPIRY


HOLDER = """
import sys, time
from fmnist.storage import lease
from fmnist.storage.open import open_storage
lease.HEARTBEAT = 0.2
told = lambda text: print(text, flush=True)
with lease.hold_lease(open_storage(sys.argv[1]), sys.argv[2], notify=told) as mine:
    told("has it")
    while True:
        try:
            mine.check()
        except lease.LeaseLost:
            sys.exit("lost it")
        time.sleep(0.05)
"""


def test_a_holder_that_was_paused_is_told_that_it_lost_the_lease(storage, monkeypatch):
    """It does not remove the lease, which another job has now."""
    monkeypatch.setattr(lease, "EXPIRY", 1.0)
    command = [sys.executable, "-c", HOLDER, storage.uri, KEY]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as holder:
        try:
            assert holder.stdout.readline() == "has it\n"
            os.kill(holder.pid, signal.SIGSTOP)
            with hold_lease(storage, KEY, notify=lambda text: None) as mine:
                os.kill(holder.pid, signal.SIGCONT)
                out, error = holder.communicate(timeout=30)
                assert "another job took over" in out and error == "lost it\n"
                mine.check()
                assert json.loads(storage.read(KEY))["pid"] == os.getpid()
        finally:
            holder.kill()
    assert storage.read_version(KEY) is None


def test_whose_lease_is_gone_is_told_in_the_block_and_outside(storage, monkeypatch):
    monkeypatch.setattr(lease, "HEARTBEAT", 0.05)
    lost, told = threading.Event(), []
    with (
        pytest.raises(LeaseLost),
        hold_lease(storage, KEY, notify=told.append, on_loss=lost.set) as mine,
    ):
        mine.check()
        storage.write(KEY, b"somebody else's")
        assert lost.wait(20)
        mine.check()
    assert storage.read(KEY) == b"somebody else's"
    assert len(told) == 1
