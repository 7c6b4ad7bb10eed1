"""A result is published whole or not at all, whichever request fails."""

import functools
from pathlib import Path

import numpy as np
import pytest

from fmnist.errors import StorageError
from fmnist.storage import errors
from fmnist.storage.manifest import publish, read_manifest
from fmnist.storage.open import S3Storage, Storage
from fmnist.training.checkpoints import Checkpoints, TrainingState
from tests.support.servers.faulty import DENIED, UNAVAILABLE, WRITES, Fault, Proxy, cut


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("fault", [UNAVAILABLE, DENIED], ids=["503", "denied"])
@pytest.mark.parametrize("good", range(3))
def test_a_result_is_whole_or_not_there_whichever_write_fails(
    shaken: S3Storage, steady: Storage, proxy: Proxy, tmp_path: Path, fault: Fault, good: int
) -> None:
    """The result has two files and a manifest, so three writes may fail."""
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    make = functools.partial(publish, prefix="runs/1", folder=tmp_path, kind="k", id="1")
    proxy.fail(fault, methods=WRITES, key="/runs/1/", after=good)
    with pytest.raises(StorageError, match=r"^cannot write .*/runs/1/"):
        make(shaken, details={})
    assert read_manifest(steady, "runs/1") is None
    proxy.heal()
    published = make(shaken, details={})
    assert read_manifest(steady, "runs/1") == published
    for name, entry in published.files.items():
        assert steady.read(f"runs/1/{entry.path}") == name.encode()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("fault", [UNAVAILABLE, DENIED, cut], ids=["503", "denied", "cut"])
def test_a_checkpoint_that_cannot_be_read_now_is_not_taken_for_damaged(
    shaken: S3Storage,
    steady: Storage,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
    fault: Fault,
) -> None:
    monkeypatch.setattr(errors, "TRIES", 3)
    checkpoints = Checkpoints(storage=shaken, run="runs/1", keep=2)
    values = [np.arange(1000.0)]
    for epoch in (1, 2):
        history = [{"epoch": number} for number in range(1, epoch + 1)]
        checkpoints.save(TrainingState(epoch=epoch, precision="float32", history=history), values)
    before = steady.keys()
    for key in ("manifest.json", "variables.npz"):
        proxy.fail(fault, methods=frozenset({"GET"}), key=key)
        with pytest.raises(StorageError, match=r"^cannot read"):
            checkpoints.newest()
        proxy.heal()
    assert steady.keys() == before
    found = checkpoints.newest()
    assert found is not None and found[0].epoch == 2
