"""Whole training runs on a real Ray, on a small part of the real images."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fmnist.cluster.resources import choose_cpus_per_worker
from fmnist.data.dataset import Dataset
from fmnist.errors import UserError
from fmnist.run_settings import Cluster, Training
from fmnist.runs.ids import run_folder
from fmnist.storage.manifest import fetch
from fmnist.storage.open import open_storage
from fmnist.tasks import COMPETITION
from fmnist.training.run import train
from tests.support import samples

pytestmark = pytest.mark.usefixtures("ray_cluster")

SMALL = Training(batch=64, epochs=3, learning_rate=1e-3, augmentation="flip")
ONE_CPU = Cluster(cpus_per_worker=1)


@pytest.fixture(scope="module")
def small(fashion):
    """Takes 333 images to train on and hold out, and 101 to test on: not divisible by workers."""
    return replace_parts(fashion, train=333, test=101)


def replace_parts(dataset, *, train, test):
    """Returns the data set with only the first images of each part."""
    return Dataset(
        task=dataset.task,
        source=dataset.source,
        train=dataset.train.take(np.arange(train)),
        test=dataset.test.take(np.arange(test)),
    )


def run(dataset, training, uri, cluster=ONE_CPU):
    return train(dataset, training, cluster, open_storage(str(uri)), command="a test")


def read(uri, manifest, name):
    """Reads a published file."""
    entry = manifest.files[name]
    return open_storage(str(uri)).read(f"{run_folder(manifest.id)}/{entry.path}")


def state(uri, manifest, epoch):
    """Reads the bytes of a checkpoint's variables, and its scores."""
    storage = open_storage(str(uri))
    keys = storage.keys(f"{run_folder(manifest.id)}/checkpoints/{epoch:05d}")
    (variables,) = [key for key in keys if key.endswith(".npz")]
    (progress,) = [key for key in keys if key.endswith("progress.json")]
    history = json.loads(storage.read(progress))["history"]
    measured = {"seconds", "images_per_second"}
    scores = [{k: v for k, v in row.items() if k not in measured} for row in history]
    return storage.read(variables), scores


@pytest.fixture(scope="module")
def two_workers(small, tmp_path_factory):
    """Trains an undisturbed run of two workers; returns its storage root and its manifest."""
    root = tmp_path_factory.mktemp("undisturbed")
    manifest = run(small, replace(SMALL, workers=2), root, replace(ONE_CPU, keep_checkpoints=3))
    return root, manifest


def resume(dataset, training, root, manifest, folder):
    """Resumes a copy of a run that has the checkpoints of its first epoch only."""
    shutil.copytree(root, folder, dirs_exist_ok=True)
    copy = folder / run_folder(manifest.id)
    (copy / "manifest.json").unlink()
    for later in range(2, training.epochs + 1):
        shutil.rmtree(copy / f"checkpoints/{later:05d}")
    return run(dataset, training, folder, replace(ONE_CPU, keep_checkpoints=3))


def test_a_run_stopped_after_an_epoch_ends_where_the_undisturbed_one_ends(
    small, two_workers, tmp_path
):
    root, manifest = two_workers
    resumed = resume(small, replace(SMALL, workers=2), root, manifest, tmp_path)
    assert state(tmp_path, resumed, 3) == state(root, manifest, 3)
    assert read(tmp_path, resumed, "metrics.json") == read(root, manifest, "metrics.json")


def test_so_does_one_with_batch_normalization_averaged_weights_and_erasing(small, tmp_path):
    """What is validated after the last epoch is what is published: the averages."""
    changes = {"weight_decay": 0.05, "label_smoothing": 0.1, "average_weights": 0.9}
    training = replace(SMALL, architecture="convnet", epochs=2, workers=2, **changes)
    training = replace(training, augmentation="shift-flip-erase")
    root = tmp_path / "undisturbed"
    manifest = run(small, training, root, replace(ONE_CPU, keep_checkpoints=3))
    resumed = resume(small, training, root, manifest, tmp_path / "resumed")
    assert state(tmp_path / "resumed", resumed, 2) == state(root, manifest, 2)
    metrics = read(root, manifest, "metrics.json")
    assert read(tmp_path / "resumed", resumed, "metrics.json") == metrics
    last = state(root, manifest, 2)[1][-1]
    assert json.loads(metrics)["validation"]["loss"] == pytest.approx(last["val_loss"], rel=1e-4)


def test_the_published_model_loads_and_predicts_without_this_package(small, two_workers, tmp_path):
    root, manifest = two_workers
    model, images = tmp_path / "model.keras", tmp_path / "images.npy"
    fetch(open_storage(str(root)), run_folder(manifest.id), manifest, "model.keras", model)
    np.save(images, small.test.images)
    program = (
        "import sys, numpy, keras\n"
        "model = keras.saving.load_model(sys.argv[1], safe_mode=True)\n"
        "guesses = model.predict(numpy.load(sys.argv[2]), verbose=0).argmax(axis=1)\n"
        "assert 'fmnist' not in sys.modules\n"
        "print(guesses.tolist())"
    )
    command = [sys.executable, "-I", "-c", program, str(model), str(images)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    guesses = np.array(json.loads(done.stdout.splitlines()[-1]))
    accuracy = json.loads(read(root, manifest, "metrics.json"))["test"]["accuracy"]
    assert (guesses == small.test.labels).mean() == pytest.approx(accuracy)


def test_a_finished_run_is_found_and_not_trained_again(small, two_workers):
    root, manifest = two_workers
    before = sorted(path.stat().st_mtime_ns for path in root.rglob("*"))
    assert run(small, replace(SMALL, workers=2), root) == manifest
    assert sorted(path.stat().st_mtime_ns for path in root.rglob("*")) == before


def test_what_is_published(two_workers):
    root, manifest = two_workers
    scores = json.loads(read(root, manifest, "metrics.json"))
    assert {part: score["examples"] for part, score in scores.items()} == {
        "train": 299,
        "validation": 34,
        "test": 101,
    }
    assert set(manifest.files) == {
        "model.keras", "metrics.json", "metrics.parquet", "history.parquet", "report.html",
        "README.md", "data_statistics.parquet",
    }  # fmt: skip
    card = read(root, manifest, "README.md").decode()
    assert f"{scores['test']['accuracy']:.2%} of 101 test images right" in card
    assert manifest.details["parameters"] == 6_484_330
    assert manifest.details["hardware"]["gpus"] == 0
    events = list(Path(root, run_folder(manifest.id), "tensorboard").iterdir())
    assert len(events) == 1 and events[0].stat().st_size > 0


def test_another_task_on_s3_with_one_worker_and_no_validation(tmp_path, s3_uri):
    """Trains on images of another shape, with another number of classes, and with S3 as storage."""
    dataset = samples.dataset()
    training = replace(SMALL, validation=0, epochs=1, batch=8)
    manifest = run(dataset, training, s3_uri)
    scores = json.loads(read(s3_uri, manifest, "metrics.json"))
    assert set(scores) == {"train", "test"}
    assert scores["train"]["examples"] == len(dataset.train)
    assert len(scores["test"]["confusion"]) == len(dataset.task.classes)


def test_a_worker_gets_a_gpu_if_asked_for(competition, tmp_path):
    """Trains the five-class task on one of the two emulated GPUs of a node."""
    small = replace_parts(competition, train=150, test=50)
    manifest = run(small, replace(SMALL, epochs=1), tmp_path, replace(ONE_CPU, gpu=True))
    assert manifest.details["config"]["gpu"]
    assert manifest.details["hardware"]["gpus"] == 1
    assert len(manifest.details["task"]["classes"]) == 5


def test_the_best_epoch_can_be_published(small, tmp_path, capfd, caplog):
    """Adam is unstable at this learning rate, and so the last epoch is not the best.

    If the best epoch's checkpoint is damaged, this is found at once and the epoch is repeated.
    """
    training = replace(SMALL, learning_rate=5e-2, epochs=2, select="best")
    manifest = run(small, training, tmp_path, replace(ONE_CPU, checkpoint_every=2))
    _, scores = state(tmp_path, manifest, 2)
    best = min(scores, key=lambda row: row["val_loss"])
    assert best["epoch"] == 1
    published = json.loads(read(tmp_path, manifest, "metrics.json"))["validation"]["loss"]
    assert manifest.details["best_epoch"] == best["epoch"]
    assert published == pytest.approx(best["val_loss"], rel=1e-5)

    folder, metrics = tmp_path / run_folder(manifest.id), read(tmp_path, manifest, "metrics.json")
    (folder / "manifest.json").unlink()
    (variables,) = folder.glob("checkpoints/00001/*/variables.npz")
    variables.write_bytes(b"damaged")
    capfd.readouterr()
    again = run(small, training, tmp_path, replace(ONE_CPU, checkpoint_every=2))
    assert read(tmp_path, again, "metrics.json") == metrics
    assert "checkpoint 00001 is damaged" in caplog.text
    assert "epoch 2/2" in capfd.readouterr().out.partition("epoch 1/2")[2]


def test_a_loss_that_is_not_finite_names_epoch_and_step(small, tmp_path):
    training = replace(SMALL, optimizer="sgd", learning_rate=1e30, workers=2)
    with pytest.raises(UserError, match=r"loss is (nan|inf) in epoch 1, step [2345]"):
        run(small, training, tmp_path)
    assert not list(tmp_path.rglob("manifest.json"))


def test_a_validation_loss_that_is_not_finite_names_the_epoch(small, tmp_path):
    """The epoch's only step has a finite loss, but makes the weights infinite."""
    training = replace(SMALL, optimizer="sgd", learning_rate=1e30, batch=300, workers=2)
    with pytest.raises(UserError, match=r"validation loss is (nan|inf) in epoch 1; expected a fin"):
        run(small, training, tmp_path)
    assert not list(tmp_path.rglob("manifest.json"))


def test_weights_that_are_not_finite_in_the_end_are_not_published(small, tmp_path):
    """Without validation images nothing else looks at them after the last step."""
    training = replace(
        SMALL, optimizer="sgd", learning_rate=1e30, batch=333, epochs=1, validation=0, workers=2
    )
    with pytest.raises(UserError, match=r"probabilities are not finite after the last epoch"):
        run(small, training, tmp_path)
    assert not list(tmp_path.glob("runs/*/manifest.json"))


def test_more_workers_than_the_cluster_can_give_are_refused_at_once(small, tmp_path):
    training = replace(SMALL, workers=5)
    with pytest.raises(
        UserError, match=r"room for 4 workers .* expected 5: the cluster has 2 nodes"
    ):
        run(small, training, tmp_path)
    with pytest.raises(UserError, match=r"room for 1 workers of 1 CPUs and 1 GPUs each"):
        run(small, replace(SMALL, workers=2), tmp_path, replace(ONE_CPU, gpu=True))
    assert not list(tmp_path.rglob("*.json"))


def test_cpus_are_divided_among_the_workers():
    """The cluster has two nodes with two CPUs each."""
    assert [choose_cpus_per_worker(workers, workers, Cluster()) for workers in (1, 2, 3, 4)] == [
        2,
        2,
        1,
        1,
    ]
    assert choose_cpus_per_worker(2, 2, Cluster(cpus_per_worker=1)) == 1


def test_training_data_without_labels_is_refused(fashion, tmp_path):
    bare = Dataset(task=COMPETITION, source="somewhere", train=None, test=fashion.test)
    with pytest.raises(UserError, match="somewhere: found no labelled training examples"):
        run(bare, SMALL, tmp_path)


def test_a_failing_storage_is_named_in_one_error(small, tmp_path):
    """A file lies where the run's folder should be."""
    (tmp_path / "runs").write_text("in the way")
    with pytest.raises(UserError, match=str(tmp_path)):
        run(small, SMALL, tmp_path, replace(ONE_CPU, max_failures=0))
