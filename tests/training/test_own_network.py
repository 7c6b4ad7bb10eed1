"""Runs of a user's own network, and runs that begin with the weights of a file, on a real Ray."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from fmnist.models.network_files import NetworkFiles, WeightsFile
from fmnist.run_settings import Cluster, Training
from fmnist.runs.ids import run_folder
from fmnist.storage.manifest import fetch
from fmnist.storage.open import open_storage
from fmnist.training.run import train
from tests.support import samples
from tests.support.models import SEPARABLE, separable

pytestmark = pytest.mark.usefixtures("ray_cluster")

ONE_CPU = Cluster(cpus_per_worker=1, keep_checkpoints=9)
NETWORKS = NetworkFiles(networks=[separable("with_dropout")])
SMALL = NETWORKS.named(
    Training(
        architecture="nets.py:with_dropout",
        batch=8,
        epochs=2,
        learning_rate=1e-3,
        validation=0.2,
        average_weights=0.5,
        workers=2,
    )
)


def run(training, root, files=NETWORKS):
    storage = open_storage(str(root))
    return train(samples.dataset(), training, ONE_CPU, storage, command="a test", files=files)


def variables(root, manifest, epoch):
    """Reads the bytes of a checkpoint's variables."""
    storage = open_storage(str(root))
    keys = storage.keys(f"{run_folder(manifest.id)}/checkpoints/{epoch:05d}")
    return storage.read(next(key for key in keys if key.endswith(".npz")))


def published(root, manifest, name, folder):
    """Fetches a published file into the folder, and returns its path."""
    path = folder / name
    return fetch(open_storage(str(root)), run_folder(manifest.id), manifest, name, path)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    root = tmp_path_factory.mktemp("undisturbed")
    return root, run(SMALL, root)


def test_a_run_that_was_stopped_ends_with_the_same_bytes(undisturbed, tmp_path):
    """Its layers that draw random numbers draw those that they would have drawn."""
    root, manifest = undisturbed
    shutil.copytree(root, tmp_path, dirs_exist_ok=True)
    folder = tmp_path / run_folder(manifest.id)
    (folder / "manifest.json").unlink()
    shutil.rmtree(folder / "checkpoints/00002")
    resumed = run(SMALL, tmp_path)
    assert variables(tmp_path, resumed, 2) == variables(root, manifest, 2)


def test_the_text_is_published_and_its_digest_is_in_the_id(undisturbed, tmp_path):
    root, manifest = undisturbed
    name = separable("with_dropout").name
    assert manifest.id.startswith(f"shapes-{name}-")
    assert manifest.details["config"]["architecture"] == name
    assert published(root, manifest, "network.py", tmp_path).read_text() == SEPARABLE


def test_the_model_loads_without_the_text(undisturbed, tmp_path):
    model = published(*undisturbed, "model.keras", tmp_path)
    np.save(tmp_path / "images.npy", samples.dataset().test.images)
    program = (
        "import sys, numpy, keras\n"
        "model = keras.saving.load_model(sys.argv[1], safe_mode=True)\n"
        "guesses = model.predict(numpy.load(sys.argv[2]), verbose=0).argmax(axis=1)\n"
        "print(guesses.tolist())"
    )
    command = [sys.executable, "-I", "-c", program, str(model), str(tmp_path / "images.npy")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    guesses = np.array(json.loads(done.stdout.splitlines()[-1]))
    accuracy = json.loads(published(*undisturbed, "metrics.json", tmp_path).read_bytes())
    right = (guesses == samples.dataset().test.labels).mean()
    assert right == pytest.approx(accuracy["test"]["accuracy"])


def test_a_run_begins_with_the_published_weights_of_another(undisturbed, tmp_path):
    """Nothing of the frozen layers changes, moving statistics included, and the last one learns."""
    import keras

    root, before = undisturbed
    path = published(root, before, "model.keras", tmp_path)
    weights = WeightsFile.of("model.keras", str(path), path.read_bytes())
    files = replace(NETWORKS, weights=[weights])
    training = replace(SMALL, initial_weights="model.keras", freeze=5, average_weights=0.0)
    training = files.named(replace(training, workers=1, epochs=1))
    assert training.initial_weights == weights.digest
    manifest = run(training, tmp_path / "tuned", files)
    assert manifest.details["config"]["initial_weights"] == weights.digest
    (tmp_path / "new").mkdir()
    new = keras.saving.load_model(
        published(tmp_path / "tuned", manifest, "model.keras", tmp_path / "new")
    )
    old = keras.saving.load_model(path)
    same = [np.array_equal(*pair) for pair in zip(old.weights, new.weights, strict=True)]
    assert same == [True] * (len(same) - 2) + [False] * 2
