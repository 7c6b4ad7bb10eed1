"""Scoring with `--gpu` on emulated GPUs, and on nodes where TensorFlow sees no GPU."""

from pathlib import Path
from typing import Any

import pytest

from fmnist.errors import UserError
from fmnist.runs.published import open_model
from fmnist.scoring.inputs import from_examples
from fmnist.scoring.job import predictions_id
from fmnist.scoring.run import score
from fmnist.scoring.settings import PredictionSettings
from fmnist.storage.open import Storage, open_storage
from tests.support.models import dense, publish_run
from tests.support.predictions import read
from tests.support.samples import SHAPES, examples
from tests.support.servers.cluster import STORE

pytestmark = pytest.mark.usefixtures("ray_cluster")

FEW = examples(SHAPES, 500)
ON_GPU = PredictionSettings(gpu=True)
INPUTS = from_examples(FEW, source="memory")
MANY = from_examples(examples(SHAPES, 40_000), source="memory")  # blocks for each of three actors


@pytest.fixture(scope="module")
def model() -> Any:
    return dense(SHAPES)


@pytest.fixture
def storage(tmp_path: Path, model: Any) -> Storage:
    storage = open_storage(str(tmp_path / "results"))
    publish_run(storage, tmp_path / "model", model, SHAPES)
    return storage


def test_actors_predict_on_the_gpus_that_they_were_given(storage: Storage) -> None:
    """Scores with one actor on an emulated GPU in larger batches, with the labels of a CPU."""
    model = open_model(storage, "runs/r1", SHAPES)
    ours = score(model=model, inputs=INPUTS, storage=storage, settings=ON_GPU)
    theirs = score(model=model, inputs=INPUTS, storage=storage, actors=1)
    assert (ours.details["device"], ours.details["actors"]) == ("gpu", 1)
    assert theirs.details["device"] == "cpu" and ours.id != theirs.id
    assert read(storage, ours) == read(storage, theirs)


def test_a_gpu_that_tensorflow_does_not_see_is_one_error(
    ray_cluster: Any, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of three actors are on a node that has GPUs only for Ray."""
    monkeypatch.setenv("EMULATED_GPUS", "0")
    node = ray_cluster.add_node(num_cpus=2, num_gpus=2, object_store_memory=STORE)
    model = open_model(storage, "runs/r1", SHAPES)
    try:
        with pytest.raises(UserError, match=r"node [\d.]+: TensorFlow sees 0 GPUs.*requirements-"):
            score(model=model, inputs=MANY, storage=storage, actors=3, settings=ON_GPU)
    finally:
        ray_cluster.remove_node(node)
    assert not [key for key in storage.keys("predictions") if key.endswith(".json")]


def test_more_actors_than_gpus_are_refused(storage: Storage) -> None:
    model = open_model(storage, "runs/r1", SHAPES)
    with pytest.raises(UserError, match=r"2 scoring actors of 1 CPU and 1 GPU .* expected 1 to 1"):
        score(model=model, inputs=INPUTS, storage=storage, actors=2, settings=ON_GPU)


def test_labels_of_a_gpu_are_another_result(storage: Storage) -> None:
    model = open_model(storage, "runs/r1", SHAPES)
    cpu = predictions_id(model, INPUTS)
    assert predictions_id(model, INPUTS, ON_GPU) != cpu
