"""A job keeps its lease although the store fails for some time."""

import json
import time
from collections.abc import Callable

import pytest

from fmnist.storage import lease
from fmnist.storage.lease import hold_lease
from fmnist.storage.open import open_storage
from tests.support.servers.faulty import UNAVAILABLE, Proxy, lose
from tests.support.waiting import wait

KEY = "runs/one/lease.json"
NO_MORE = "the beat succeeds and what comes after fails"  # nothing comes after it
FAULTS: dict[str, Callable[[Proxy], None]] = {
    NO_MORE: lambda proxy: proxy.fail(UNAVAILABLE, methods=frozenset({"GET", "HEAD"}), key=KEY),
    "the beat succeeds and its answers are lost": lambda proxy: proxy.fail(
        lose, methods=frozenset({"PUT", "HEAD"}), key=KEY
    ),
    "the beat fails": lambda proxy: proxy.fail(UNAVAILABLE, key=KEY),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_beats_go_on_after_failures(
    proxy: Proxy, s3_uri: str, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT", 0.05)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    storage = open_storage(s3_uri)

    def beats() -> int:
        return int(json.loads(storage.read(KEY))["beats"])

    told: list[str] = []
    with hold_lease(storage, KEY, notify=told.append) as mine:
        FAULTS[fault](proxy)
        time.sleep(1)
        assert proxy.heal() or fault == NO_MORE
        before = beats()
        wait(lambda: beats() > before + 3, seconds=20)
        mine.check()
    assert not told and storage.read_version(KEY) is None
