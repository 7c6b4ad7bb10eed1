"""The store answers 503 or 429, loses connections and answers, cuts answers short, or hangs."""

import functools
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from fmnist.data.formats.parquet import read_part, write_part
from fmnist.data.locations import locate
from fmnist.errors import StorageError
from fmnist.storage import errors, s3, s3_arrow
from fmnist.storage.open import S3Storage, Storage
from tests.support.samples import SHAPES, examples
from tests.support.servers.faulty import (
    DENIED,
    SLOW_DOWN,
    TOO_MANY,
    UNAVAILABLE,
    Fault,
    Proxy,
    cut,
    hang,
    lose,
    reset,
    status,
)
from tests.support.servers.s3 import SECRET

CONTENT = bytes(range(256)) * 1000
LARGE = CONTENT * 36  # more than a part of an upload, and a part of a download

FAULTS: dict[str, Fault] = {
    "503": UNAVAILABLE,
    "slow down": SLOW_DOWN,
    "429": TOO_MANY,
    "reset": reset,
    "answer lost": lose,
    "answer cut": cut,
    "hangs": hang(30),
}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shortens the time without a byte after which a request is repeated to half a second."""
    monkeypatch.setattr(s3, "READ_TIMEOUT", 0.5)
    monkeypatch.setattr(s3_arrow, "READ_TIMEOUT", 0.5)


@pytest.fixture
def steady(steady: Storage) -> Storage:
    """The same storage, with something in it."""
    steady.write("content", CONTENT)
    steady.write("large", LARGE)
    return steady


def reads(storage: Storage, folder: Path) -> None:
    storage.download("large", folder / "got")
    assert (folder / "got").read_bytes() == LARGE
    assert storage.digest("content").size == len(CONTENT)
    assert storage.read("content") == CONTENT
    assert storage.read_version("content") is not None and storage.read_version("nothing") is None


def writes(storage: Storage, folder: Path) -> None:
    storage.check(writable=True)
    (folder / "source").write_bytes(LARGE)
    uploaded = storage.upload(folder / "source", "uploaded")
    assert storage.digest("uploaded") == uploaded
    storage.write("written", CONTENT)
    assert storage.read("written") == CONTENT


def swaps(storage: Storage, _: Path) -> None:
    assert storage.create("pointer", b"one")
    assert not storage.create("pointer", b"two")
    data, version = storage.read_version("pointer") or (b"", "")
    assert data == b"one"
    moved = storage.replace("pointer", b"two", version=version)
    assert storage.read_version("pointer") == (b"two", moved)
    assert not storage.replace("pointer", b"three", version=version)
    assert storage.read("pointer") == b"two"


def deletes(storage: Storage, _: Path) -> None:
    for number in range(3):
        storage.write(f"many/{number}", b"")
    storage.delete("many")
    assert storage.keys("many") == []


def arrow(storage: Storage, _: Path) -> None:
    system, folder = pickle.loads(pickle.dumps(storage.arrow("data")))
    write_part(examples(SHAPES, 90), system, f"{folder}/test")
    found = read_part(locate(f"{storage.uri}/data"), SHAPES, "test")
    assert found is not None
    np.testing.assert_array_equal(found.images, examples(SHAPES, 90).images)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_each_first_request_is_not_noticed(
    shaken: S3Storage, proxy: Proxy, tmp_path: Path, fault: str
) -> None:
    proxy.fail(FAULTS[fault], each=True)
    uses = [reads, writes, swaps, deletes]
    # Arrow does not repeat requests after an answer 429 (Ray Data does), and waits for two and a
    # half seconds where half a second is set.
    if fault not in ("429", "hangs"):
        uses.append(arrow)
    with ThreadPoolExecutor() as pool:  # so that they wait together
        for use in [pool.submit(use, shaken, tmp_path) for use in uses]:
            use.result()
    assert proxy.heal() >= 12


@pytest.mark.usefixtures("impatient")
def test_arrow_outlasts_requests_that_hang(shaken: S3Storage, proxy: Proxy, tmp_path: Path) -> None:
    proxy.fail(hang(30), times=2, methods=frozenset({"PUT", "POST"}))
    proxy.fail(hang(30), times=2, methods=frozenset({"GET", "HEAD"}))
    arrow(shaken, tmp_path)
    assert proxy.heal() == 4


GONE = {
    "503": (UNAVAILABLE, "the store answered ServiceUnavailable to"),
    "429": (TOO_MANY, "the store answered TooManyRequests to"),
    "reset": (reset, "the connection failed"),
    "hangs": (hang(30), "the connection failed"),
    "denied": (DENIED, "no permission"),
}


@pytest.mark.usefixtures("impatient", "quick")
@pytest.mark.parametrize("fault", GONE)
def test_what_lasts_is_one_clear_error(
    shaken: S3Storage, proxy: Proxy, tmp_path: Path, fault: str
) -> None:
    (tmp_path / "source").write_bytes(CONTENT)
    uses: dict[str, Callable[[], object]] = {
        "open": lambda: shaken.check(writable=True),
        "read": lambda: shaken.read("content"),
        "write": lambda: shaken.write("new", b""),
        "list": shaken.keys,
        "delete": lambda: shaken.delete("content"),
    }
    proxy.fail(GONE[fault][0])
    for action, use in uses.items():
        action = "list" if action == "delete" else action  # deleting begins with a list of the keys
        with pytest.raises(StorageError, match=f"^cannot {action} {shaken.uri}.*: ") as refusal:
            use()
        assert GONE[fault][1] in str(refusal.value) or action == "read"
        assert SECRET not in str(refusal.value) and "\n" not in str(refusal.value)
    with pytest.raises(StorageError, match=f"^cannot write {shaken.uri}/new: {GONE[fault][1]}"):
        shaken.upload(tmp_path / "source", "new")
    with pytest.raises(StorageError, match=f"^cannot read {shaken.uri}/content: "):
        shaken.download("content", tmp_path / "got")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]
    proxy.heal()
    assert shaken.keys() == ["content", "large"] and shaken.read("content") == CONTENT


def test_a_download_that_always_breaks_off_is_one_clear_error(
    shaken: S3Storage, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errors, "TRIES", 3)
    proxy.fail(cut, methods=frozenset({"GET"}))
    for use in (functools.partial(shaken.download, target=tmp_path / "got"), shaken.read):
        with pytest.raises(
            StorageError, match=f"^cannot read {shaken.uri}/content: the connection"
        ):
            use("content")
    assert list(tmp_path.iterdir()) == []


def test_a_winner_whose_answer_was_lost_is_still_told(
    shaken: S3Storage, steady: Storage, proxy: Proxy
) -> None:
    proxy.fail(lose, times=1)
    assert shaken.create("key", b"mine")
    assert not shaken.create("key", b"mine")
    assert proxy.heal() == 1 and steady.read("key") == b"mine"


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("lost", [True, False], ids=["answer lost", "never there"])
def test_an_upload_that_the_store_no_longer_knows_is_whole_or_an_error(
    shaken: S3Storage, steady: Storage, proxy: Proxy, tmp_path: Path, lost: bool
) -> None:
    """Some stores answer NoSuchUpload when an upload whose answer was lost is completed again."""
    (tmp_path / "source").write_bytes(LARGE)
    steady.write("key", b"somebody else's")
    completion = {"methods": frozenset({"POST"}), "key": "uploadId="}
    if lost:
        proxy.fail(lose, times=1, **completion)
        proxy.fail(status(404, "NoSuchUpload"), times=1, **completion)
        assert shaken.upload(tmp_path / "source", "key") == steady.digest("large")
        assert steady.digest("key") == steady.digest("large")
        assert proxy.heal() == 2
    else:
        proxy.fail(status(404, "NoSuchUpload"), **completion)
        with pytest.raises(StorageError, match="NoSuchUpload to CompleteMultipartUpload"):
            shaken.upload(tmp_path / "source", "key")
        assert steady.read("key") == b"somebody else's"
