"""Runs on shards: as exact as in memory, with any number of workers and wherever the shards are."""

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fmnist.data.dataset import split_rows
from fmnist.data.locations import locate
from fmnist.data.streaming.cache import ShardCache, default_folder
from fmnist.data.streaming.dataset import ShardedDataset, open_shards
from fmnist.data.streaming.images import StreamedImages
from fmnist.errors import UserError
from fmnist.run_settings import Cluster, Training
from fmnist.runs.ids import run_folder
from fmnist.storage.manifest import Manifest
from fmnist.storage.open import open_storage
from fmnist.training import splits
from fmnist.training.batches import Batch, TrainingOrder, count_steps, streamed_batches
from fmnist.training.run import train
from tests.support import samples
from tests.support.servers.cluster import processes
from tests.support.sharded import Sharded, write_shards
from tests.support.waiting import wait

BATCH = 16
STREAM = Training(
    architecture="dense",
    optimizer="sgd",
    learning_rate=1e-3,
    batch=4,  # 90 steps an epoch, and many of them, so that there is time to disturb one
    epochs=5,
    augmentation="flip",
    ingest="stream",
)
ONE_CPU = Cluster(cpus_per_worker=1, keep_checkpoints=9, max_failures=0, cache_size="1MB")
EXAMPLES = 400
MEASURED = {"seconds", "images_per_second"}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 58 shards to train on and to hold out, and 3 to test on."""
    folder = tmp_path_factory.mktemp("data") / "shards"
    write_shards(str(folder), samples.dataset(train=EXAMPLES))
    return folder


def opened(folder: str | Path) -> ShardedDataset:
    return open_shards(locate(str(folder)), samples.SHAPES)


def run(
    folder: Path | str, uri: Path | str, training: Training = STREAM, **cluster: Any
) -> Manifest:
    storage = open_storage(str(uri))
    return train(opened(folder), training, replace(ONE_CPU, **cluster), storage, command="a test")


def history(uri: Path | str, manifest: Manifest) -> list[dict[str, float]]:
    storage = open_storage(str(uri))
    keys = storage.keys(f"{run_folder(manifest.id)}/checkpoints/{STREAM.epochs:05d}")
    (progress,) = [key for key in keys if key.endswith("progress.json")]
    rows = json.loads(storage.read(progress))["history"]
    return [{name: row[name] for name in row if name not in MEASURED} for row in rows]


def outcome(uri: Path | str, manifest: Manifest) -> tuple[Any, ...]:
    """All that a clock does not decide, to the last bit."""
    storage = open_storage(str(uri))
    keys = storage.keys(f"{run_folder(manifest.id)}/checkpoints/{STREAM.epochs:05d}")
    (variables,) = [key for key in keys if key.endswith(".npz")]
    return (
        storage.digest(variables).sha256,
        history(uri, manifest),
        manifest.files["metrics.json"].sha256,
    )


def batches(
    sharded: Sharded, world: int, count: int, *, first_step: int = 0, augmentation: str = "none"
) -> list[list[Batch]]:
    """The first batches of each rank; labels are the rows of the images."""
    return [
        list(
            islice(
                streamed_batches(
                    StreamedImages(sharded.part, np.ones(80, np.bool_), sharded.cache, keep=48),
                    np.arange(80, dtype=np.uint8),
                    TrainingOrder(
                        batch=BATCH,
                        seed=3,
                        first_epoch=0,
                        first_step=first_step,
                        augmentation=augmentation,
                        rank=rank,
                        world=world,
                    ),
                ),
                count,
            )
        )
        for rank in range(world)
    ]


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_every_example_once_an_epoch_and_with_its_image(tmp_path: Path, world: int) -> None:
    sharded = Sharded(tmp_path)
    assert sharded.data.train is not None
    steps = count_steps(80, BATCH)
    found = batches(sharded, world, 2 * steps)
    for epoch in range(2):
        used = []
        for rank in found:
            for images, labels, weights in rank[epoch * steps : (epoch + 1) * steps]:
                assert (images == sharded.data.train.images[labels]).all()
                assert labels.dtype == np.int64 and weights.dtype == np.float32
                used += labels[weights > 0].tolist()
        assert sorted(used) == list(range(80))
    for ranks in zip(*found, strict=True):
        assert sum(weights.sum() for _, _, weights in ranks) == pytest.approx(1)
        assert len({len(labels) for _, labels, _ in ranks}) == 1


@pytest.mark.parametrize("augmentation", ["none", "flip", "shift-flip"])
def test_global_batches_do_not_depend_on_world_and_resume(
    tmp_path: Path, augmentation: str
) -> None:
    sharded = Sharded(tmp_path)
    (alone,) = batches(sharded, 1, 12, augmentation=augmentation)
    for world in (2, 3):
        divided = batches(sharded, world, 9, first_step=3, augmentation=augmentation)
        for (images, labels, _), *ranks in zip(alone[3:], *divided, strict=True):
            kept = [rank[2] > 0 for rank in ranks]
            parts = list(zip(ranks, kept, strict=True))
            assert (np.concatenate([rank[1][real] for rank, real in parts]) == labels).all()
            assert (np.concatenate([rank[0][real] for rank, real in parts]) == images).all()


@pytest.fixture(scope="module")
def undisturbed(
    ray_cluster: Any, shards: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Manifest]:
    root = tmp_path_factory.mktemp("undisturbed")
    return root, run(shards, root)


def test_what_is_published_says_stream(undisturbed: tuple[Path, Manifest]) -> None:
    root, manifest = undisturbed
    assert manifest.details["config"]["ingest"] == "stream"
    _, held_out = split_rows(EXAMPLES, STREAM.validation)
    assert held_out is not None
    assert manifest.details["dataset"]["validation"] == len(held_out)
    assert manifest.details["scores"]["train"]["examples"] == EXAMPLES - len(held_out)
    assert manifest.details["scores"]["test"]["examples"] == 15
    (page,) = root.rglob("report.html")
    assert "ingest" in page.read_text() and "stream" in page.read_text()


def test_a_run_stopped_within_an_epoch_ends_where_the_undisturbed_one_ends(
    undisturbed: tuple[Path, Manifest], ray_cluster: Any, shards: Path, tmp_path: Path
) -> None:
    """Its worker is told to end after the first epoch, and another goes on from its checkpoint."""
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run, shards, tmp_path)
        wait(lambda: checkpoints(tmp_path) or running.done(), 240)
        (worker,) = processes(ray_cluster.list_all_nodes(), "RayTrainWorker")
        os.kill(worker, signal.SIGTERM)
        manifest = running.result()
    assert any("." in name for name in checkpoints(tmp_path))
    assert outcome(tmp_path, manifest) == outcome(*undisturbed)


def checkpoints(root: Path) -> list[str]:
    return [path.parent.name for path in root.glob("runs/*/checkpoints/*/manifest.json")]


def test_two_workers_have_the_losses_of_one(
    undisturbed: tuple[Path, Manifest], shards: Path, tmp_path: Path
) -> None:
    manifest = run(shards, tmp_path, replace(STREAM, workers=2))
    losses = [row["loss"] for row in history(tmp_path, manifest)]
    assert losses == pytest.approx([row["loss"] for row in history(*undisturbed)], rel=1e-4)


def test_shards_on_s3_train_to_the_same_bytes(
    undisturbed: tuple[Path, Manifest], s3_uri: str
) -> None:
    root, manifest = undisturbed
    write_shards(f"{s3_uri}/data", samples.dataset(train=EXAMPLES))
    found = run(f"{s3_uri}/data", s3_uri)
    assert found.id == manifest.id
    assert outcome(s3_uri, found) == outcome(root, manifest)


def test_a_shard_that_is_lost_is_one_error(ray_cluster: Any, tmp_path: Path) -> None:
    write_shards(str(tmp_path / "shards"), samples.dataset(train=90))
    dataset = opened(tmp_path / "shards")
    (tmp_path / "shards" / "train" / "part-00004.parquet").unlink()
    storage = open_storage(str(tmp_path / "results"))
    with pytest.raises(UserError, match=r"part-00004\.parquet: no such file") as error:
        train(dataset, STREAM, ONE_CPU, storage, command="a test")
    assert len(error.value.problems) == 1
    assert not list(tmp_path.rglob("manifest.json"))


def test_a_cache_that_holds_no_two_windows_is_refused(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"cache size is 2,000 bytes, expected at least 298,800 for"
    ):
        run(shards, tmp_path, cache_size="2kB")
    assert not list(tmp_path.iterdir())


def test_many_training_images_are_evaluated_by_a_sample_of_all_classes(
    ray_cluster: Any, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splits, "MOST_STREAMED", 50)
    made = splits.make_splits(opened(shards), 0.1, "1MB")
    positions = made["train"].evaluated()
    assert len(set(positions.tolist())) == 50 and (np.diff(positions) > 0).all()
    assert positions[-1] < 360
    assert len(set((positions % 4).tolist())) == 4  # of classes that take turns
    assert made["validation"].evaluated().tolist() == list(range(40))


def test_the_cache_of_a_worker_is_the_one_of_its_node(undisturbed: tuple[Path, Manifest]) -> None:
    assert list(default_folder().glob("*.raw"))
    assert ShardCache(default_folder(), 0).folder == default_folder()
