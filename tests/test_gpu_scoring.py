"""Scoring with `--gpu` on a cluster whose only GPU is a number: TensorFlow sees none here."""

from pathlib import Path
from typing import Any

import pytest

from fmnist.errors import UserError
from fmnist.inputs import from_examples
from fmnist.published import open_model
from fmnist.scoring import predictions_id, score
from fmnist.storage import Storage, open_storage
from tests.models import dense, publish_run
from tests.samples import SHAPES, examples

pytestmark = pytest.mark.usefixtures("ray_cluster")

FEW = examples(SHAPES, 500)
INPUTS = from_examples(FEW, source="memory")


@pytest.fixture(scope="module")
def model() -> Any:
    return dense(SHAPES)


@pytest.fixture
def storage(tmp_path: Path, model: Any) -> Storage:
    storage = open_storage(str(tmp_path / "results"))
    publish_run(storage, tmp_path / "model", model, SHAPES)
    return storage


def test_a_gpu_that_tensorflow_does_not_see_is_one_error(storage: Storage) -> None:
    with pytest.raises(UserError, match=r"node [\d.]+: TensorFlow sees 0 GPUs.*requirements-gpu"):
        score(
            model=open_model(storage, "runs/r1", SHAPES), inputs=INPUTS, storage=storage, gpu=True
        )
    assert not [key for key in storage.keys("predictions") if key.endswith(".json")]


def test_more_actors_than_gpus_are_refused(storage: Storage) -> None:
    model = open_model(storage, "runs/r1", SHAPES)
    with pytest.raises(UserError, match=r"2 scoring actors of 1 CPU and 1 GPU .* expected 1 to 1"):
        score(model=model, inputs=INPUTS, storage=storage, actors=2, gpu=True)


def test_labels_of_a_gpu_are_another_result(storage: Storage) -> None:
    model = open_model(storage, "runs/r1", SHAPES)
    cpu = predictions_id(model, INPUTS, probabilities=False)
    assert predictions_id(model, INPUTS, probabilities=False, gpu=True) != cpu
