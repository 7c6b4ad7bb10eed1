"""Scoring with `--gpu` on a cluster whose only GPU is a number: TensorFlow sees none here."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import ray

from fmnist.errors import UserError
from fmnist.inputs import from_examples
from fmnist.manifest import read_manifest
from fmnist.parquet import write_part
from fmnist.published import open_model
from fmnist.scoring import predictions_folder, predictions_id, score
from fmnist.storage import Storage, open_storage
from tests.models import dense, publish_run
from tests.predictions import check_against, labels_of
from tests.s3 import ROOT
from tests.samples import SHAPES, examples

pytestmark = pytest.mark.usefixtures("ray_cluster")

FEW = examples(SHAPES, 500)
INPUTS = from_examples(FEW, source="memory")

# A driver in whose processes a CPU stands in for the GPU that Ray gave to them, if it gave one.
DRIVER = """
import sys, ray
address, storage, data, shown = sys.argv[1:]

def emulate_gpus():
    import os
    from fmnist import imports

    def show():
        with open(shown, "a") as file:
            print(os.environ.get("CUDA_VISIBLE_DEVICES"), file=file)

    imports._show_gpu = show

ray.init(address=address, log_to_driver=False,
         runtime_env={"worker_process_setup_hook": emulate_gpus})
from fmnist.inputs import find_inputs
from fmnist.published import open_model
from fmnist.scoring import score
from fmnist.storage import open_storage
from tests.samples import SHAPES
storage = open_storage(storage)
score(model=open_model(storage, "runs/r1", SHAPES), inputs=find_inputs(SHAPES, data),
      storage=storage, gpu=True)
"""


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


def test_each_actor_predicts_on_a_gpu_of_its_own(
    storage: Storage, model: Any, tmp_path: Path
) -> None:
    write_part(FEW, *open_storage(str(tmp_path / "data")).arrow("test"))
    address = ray.get_runtime_context().gcs_address
    arguments = [address, storage.uri, str(tmp_path / "data"), str(tmp_path / "shown")]
    subprocess.run([sys.executable, "-c", DRIVER, *arguments], cwd=ROOT, check=True)
    assert (tmp_path / "shown").read_text().split() == ["0"]  # the cluster has one

    published = open_model(storage, "runs/r1", SHAPES)
    identity = predictions_id(published, INPUTS, probabilities=False, gpu=True)
    assert identity != predictions_id(published, INPUTS, probabilities=False)
    manifest = read_manifest(storage, predictions_folder(identity))
    assert manifest is not None
    assert (manifest.details["device"], manifest.details["actors"]) == ("gpu", 1)
    check_against(storage, manifest, labels_of(model, FEW))
