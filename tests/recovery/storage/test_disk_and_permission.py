"""A disk fills up, a folder becomes read-only, a bucket refuses writes; later all work again."""

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fmnist.data.dataset import Dataset
from fmnist.data.formats.parquet import write_part
from fmnist.errors import StorageError, UserError
from fmnist.runs.published import open_model
from fmnist.scoring.inputs import find_inputs
from fmnist.scoring.job import predictions_id
from fmnist.scoring.predictions import predictions_folder
from fmnist.scoring.run import score
from fmnist.storage.manifest import read_manifest
from fmnist.storage.open import open_storage
from fmnist.training.checkpoints import Checkpoints, TrainingState
from fmnist.training.worker.tensorboard import ScalarWriter
from tests.recovery.support.runs import CLUSTER, Disturbed, folder, outcome, run
from tests.support.full_disk import fill
from tests.support.models import convolutional, publish_run
from tests.support.predictions import check_against, labels_of
from tests.support.samples import SHAPES, examples
from tests.support.servers.faulty import DENIED, WRITES, Proxy

VALUES = [np.random.default_rng(0).random(100_000)]  # 800 kB, and no smaller when packed
FEW = examples(SHAPES, 3_000)


class Disk:
    """A small file system of its own, which can be filled and made read-only."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filling = folder / "filling"

    def fill(self, *, leave: int = 0) -> None:
        """Leaves so many bytes free."""
        fill(self._filling, leave=leave)

    def empty(self) -> None:
        self._filling.unlink()

    def allow_writing(self, allowed: bool) -> None:
        option = "remount,rw" if allowed else "remount,ro"
        subprocess.run(["mount", "-o", option, str(self.folder)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Mounts 256 MiB. File permissions would not do, since they do not stop root."""
    place = tmp_path / "disk"
    place.mkdir()
    options = ["-t", "tmpfs", "-o", "size=256m", "tmpfs"]
    mounted = subprocess.run(["mount", *options, str(place)], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a small disk takes the right to mount: {mounted.stderr.strip()}")
    yield Disk(place)
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def save(checkpoints: Checkpoints, epoch: int) -> None:
    history = [{"epoch": number} for number in range(1, epoch + 1)]
    checkpoints.save(TrainingState(epoch=epoch, precision="float32", history=history), VALUES)


def newest(checkpoints: Checkpoints) -> int:
    """Returns the epoch of the newest checkpoint, which is verified when it is read."""
    found = checkpoints.newest()
    assert found is not None
    np.testing.assert_array_equal(found[1][0], VALUES[0])
    return found[0].epoch


def test_the_storage_is_full_when_a_checkpoint_is_written(disk: Disk) -> None:
    checkpoints = Checkpoints(storage=open_storage(str(disk.folder)), run="runs/1", keep=2)
    save(checkpoints, 1)
    before = checkpoints.storage.keys("runs")
    disk.fill(leave=500_000)  # in the middle of the file
    with pytest.raises(StorageError, match=f"^cannot upload .* to {disk.folder}.*: No space left"):
        save(checkpoints, 2)
    assert checkpoints.storage.keys("runs") == before and newest(checkpoints) == 1
    disk.empty()
    save(checkpoints, 2)
    assert newest(checkpoints) == 2


@pytest.mark.parametrize("left", [0, 500_000])
def test_the_temporary_folder_is_full_when_a_checkpoint_is_written_or_read(
    disk: Disk, storage_uri: str, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    checkpoints = Checkpoints(storage=open_storage(storage_uri), run="runs/1", keep=2)
    save(checkpoints, 1)
    before = checkpoints.storage.keys()
    monkeypatch.setenv("TMPDIR", str(disk.folder))
    disk.fill(leave=left)
    for use in (lambda: save(checkpoints, 2), checkpoints.newest):
        with pytest.raises(StorageError, match=f"{disk.folder}.*: No space left on device"):
            use()
    assert checkpoints.storage.keys() == before
    assert [path.name for path in disk.folder.iterdir()] == ["filling"]
    disk.empty()
    assert newest(checkpoints) == 1
    save(checkpoints, 2)
    assert newest(checkpoints) == 2


def test_a_full_temporary_folder_ends_tensorboard_logs_with_a_clear_error(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(disk.folder))
    scalars = ScalarWriter(open_storage(str(tmp_path / "results")), "runs/1")
    scalars.write({"epoch": 1, "loss": 0.5})
    disk.fill()
    with pytest.raises(StorageError, match=r"TensorBoard.*: No space left on device"):
        for epoch in range(2, 200):  # the rest of a memory page has room for small ones
            scalars.write({"epoch": epoch, "loss": 0.5})


def test_a_folder_becomes_read_only_in_mid_run(disk: Disk) -> None:
    checkpoints = Checkpoints(storage=open_storage(str(disk.folder)), run="runs/1", keep=2)
    save(checkpoints, 1)
    before = checkpoints.storage.keys()
    disk.allow_writing(False)
    with pytest.raises(StorageError, match=f"{disk.folder}.*: Read-only file system"):
        save(checkpoints, 2)
    assert checkpoints.storage.keys() == before and newest(checkpoints) == 1
    disk.allow_writing(True)
    save(checkpoints, 2)
    assert newest(checkpoints) == 2


@pytest.mark.parametrize("good", range(4))
def test_a_bucket_refuses_writes_in_mid_run(proxy: Proxy, s3_uri: str, good: int) -> None:
    """Writes are refused from the first, second, third or fourth write of a checkpoint on."""
    checkpoints = Checkpoints(storage=open_storage(s3_uri), run="runs/1", keep=1)
    save(checkpoints, 1)
    proxy.fail(DENIED, methods=WRITES, after=good)
    with pytest.raises(StorageError, match=f"^cannot (write|delete) {s3_uri}/.*: no permission"):
        save(checkpoints, 2)
    # The last write deletes files that are no longer needed.
    assert newest(checkpoints) == (2 if good == 3 else 1)
    proxy.heal()
    save(checkpoints, 2)
    checkpoints.remove_leftovers()  # of the files that could not be deleted
    assert newest(checkpoints) == 2 and len(checkpoints.storage.keys()) == 3


def test_the_storage_of_a_run_is_full_for_a_while(
    disk: Disk, small: Dataset, undisturbed: tuple[Path, dict[str, Any]]
) -> None:
    uri = str(disk.folder / "results")
    first = Disturbed(small, uri, replace(CLUSTER, max_failures=0))
    first.wait_for("00001")
    disk.fill()
    with pytest.raises(UserError, match=f"{disk.folder}.*: No space left"):
        first.end()
    assert read_manifest(open_storage(uri), folder(small)) is None
    disk.empty()
    run(small, uri)
    assert outcome(uri, small) == undisturbed[1]


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("trouble", ["full", "read-only"])
def test_scoring_into_a_folder_that_fails(disk: Disk, tmp_path: Path, trouble: str) -> None:
    network = convolutional(SHAPES)
    storage = open_storage(str(disk.folder / "results"))
    publish_run(storage, tmp_path / "model", network, SHAPES)
    write_part(FEW, *open_storage(str(tmp_path)).arrow("data/test"))
    model, inputs = open_model(storage, "runs/r1", SHAPES), find_inputs(SHAPES, f"{tmp_path}/data")
    prefix = predictions_folder(predictions_id(model, inputs))
    work = {"model": model, "inputs": inputs, "storage": storage, "actors": 1}
    (disk.fill if trouble == "full" else lambda: disk.allow_writing(False))()
    reason = "No space left" if trouble == "full" else "Read-only file system"
    with pytest.raises(UserError, match=f"{disk.folder}.*{reason}"):
        score(**work)
    assert read_manifest(storage, prefix) is None
    (disk.empty if trouble == "full" else lambda: disk.allow_writing(True))()
    check_against(storage, score(**work), labels_of(network, FEW))
