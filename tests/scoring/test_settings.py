"""Settings that change predictions: their ids, what they predict, and where they are refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fmnist import machine
from fmnist.errors import UserError
from fmnist.models.architectures import build
from fmnist.models.classifier import Classifier
from fmnist.runs.published import PublishedModel, load_classifier, open_model
from fmnist.scoring.inputs import from_examples
from fmnist.scoring.job import predictions_id
from fmnist.scoring.run import score
from fmnist.scoring.settings import (
    PredictionSettings,
    check_choices,
    check_model,
    resolve_precision,
)
from fmnist.storage.open import Storage, open_storage
from fmnist.tasks import COMPETITION, FASHION
from tests.support.models import publish_run
from tests.support.predictions import read
from tests.support.samples import SHAPES, examples

FEW = examples(SHAPES, 300)
INPUTS = from_examples(FEW, source="memory")
TRAINED = {"architecture": "convnet-brightness", "activation": "relu", "augmentation": "flip"}
MODEL = PublishedModel(
    run="fashion-cnn-0123456789ab", sha256="ab" * 32, task=FASHION, data=b"", training=TRAINED
)


@pytest.fixture(scope="module")
def network() -> Any:
    """A network with random weights, in which brightness has layers of its own."""
    return build("convnet-brightness", SHAPES, activation="relu", precision="float32")


@pytest.fixture
def storage(tmp_path: Path, network: Any) -> Storage:
    storage = open_storage(str(tmp_path / "results"))
    publish_run(storage, tmp_path / "model", network, SHAPES, config=TRAINED)
    return storage


def test_ids_stay_where_no_new_setting_is_used() -> None:
    """Pinned: predictions that are published already are found again."""
    inputs = replace(INPUTS, fingerprint="cd" * 32)
    for settings, id in (
        (PredictionSettings(), "4a29b092e82e"),
        (PredictionSettings(probabilities=True), "8b79612e4cff"),
        (PredictionSettings(gpu=True), "4098331ecbcb"),
        (PredictionSettings(cpus=4), "8efa80ebb42a"),
    ):
        assert predictions_id(MODEL, inputs, settings) == id
        for change in ({"tta": "flip"}, {"precision": "bfloat16"}):
            assert predictions_id(MODEL, inputs, replace(settings, **change)) != id


@pytest.mark.usefixtures("ray_cluster")
def test_flipped_images_are_predicted_too_and_the_mean_counts(
    storage: Storage, network: Any
) -> None:
    settings = PredictionSettings(tta="flip", probabilities=True)
    model = open_model(storage, "runs/r1", SHAPES)
    check_model(model, settings)
    manifest = score(model=model, inputs=INPUTS, storage=storage, actors=2, settings=settings)
    classify = Classifier(network)
    expected = (classify(FEW.images) + classify(FEW.images[:, :, ::-1])) / 2
    order = np.argsort(FEW.ids)
    found = read(storage, manifest)[1]
    # Not equal: an actor has one thread, this process has several, whose sums round differently.
    probabilities = np.array(found["probabilities"].to_pylist())
    np.testing.assert_allclose(probabilities, expected[order], rtol=1e-6)
    np.testing.assert_array_equal(found["label"], expected[order].argmax(axis=1))
    assert np.abs(expected - classify(FEW.images)).max() > 1e-4
    assert manifest.details["tta"] == "flip" and manifest.details["precision"] == "float32"


def test_bfloat16_predicts_as_the_network_is_trained_in_it(storage: Storage, network: Any) -> None:
    model = open_model(storage, "runs/r1", SHAPES)
    check_model(model, PredictionSettings(precision="bfloat16"))
    classifier = load_classifier(model, precision="bfloat16")
    kinds = {layer.name: layer.compute_dtype for layer in classifier.model.layers}
    assert kinds["brightness"] == kinds["probabilities"] == "float32"
    assert {kind for name, kind in kinds.items() if "conv" in name} == {"bfloat16"}
    exact, found = Classifier(network)(FEW.images), classifier(FEW.images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, exact, atol=0.02)
    assert (found != exact).any()


def test_a_network_of_another_version_is_refused(storage: Storage) -> None:
    model = open_model(storage, "runs/r1", SHAPES)
    other = replace(model, training=TRAINED | {"architecture": "dense"})
    with pytest.raises(UserError, match="run r1: its model is not the network dense of this vers"):
        load_classifier(other, precision="bfloat16")


def test_mirror_images_are_refused_where_nobody_says_that_they_make_sense() -> None:
    flip = PredictionSettings(tta="flip")
    for task in (FASHION, COMPETITION):
        check_model(replace(MODEL, task=task, training={}), flip)
    check_model(replace(MODEL, task=SHAPES), flip)  # the run was trained with them
    unknown = replace(MODEL, task=SHAPES, training={"augmentation": "none"})
    with pytest.raises(UserError, match="tta is flip, but the task shapes does not say") as error:
        check_model(unknown, PredictionSettings(tta="flip", precision="bfloat16"))
    assert len(error.value.problems) == 2 and "no network of this package" in str(error.value)
    check_model(unknown, PredictionSettings())


def test_unknown_choices_are_all_in_one_message() -> None:
    with pytest.raises(UserError) as error:
        check_choices(tta="rotate", precision="float16", gpu=False)
    assert error.value.problems == [
        "unknown tta 'rotate': expected one of none, flip",
        "unknown precision 'float16': expected one of auto, float32, bfloat16"
        "; did you mean bfloat16?",
    ]
    with pytest.raises(UserError, match="precision is auto with --gpu"):
        check_choices(tta="none", precision="auto", gpu=True)
    check_choices(tta="flip", precision="auto", gpu=False)


def test_auto_is_what_the_processor_has(monkeypatch: pytest.MonkeyPatch) -> None:
    for has, precision in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(machine, "has_bfloat16", lambda has=has: has)
        assert resolve_precision("auto") == precision
    assert resolve_precision("bfloat16") == "bfloat16"
