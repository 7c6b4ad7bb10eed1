"""Models in the formats of other programs, written by Keras and read by their real runtimes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fmnist.errors import UserError
from fmnist.exports import formats
from fmnist.exports.formats import FORMATS, check_installed
from fmnist.exports.run import compare, export_here, exports_folder
from fmnist.job_config import JobConfig
from fmnist.runs.published import PublishedModel, open_model
from fmnist.storage.manifest import Manifest
from fmnist.storage.open import Storage, open_storage
from tests.support.models import convolutional, publish_run
from tests.support.samples import SHAPES, examples

CONFIG = JobConfig(job="export", values={"run": "r1"})
IMAGES = examples(SHAPES, 300).images  # one full batch, and one that is padded


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> PublishedModel:
    folder = tmp_path_factory.mktemp("runs")
    storage = open_storage(str(folder / "results"))
    prefix = publish_run(storage, folder / "model", convolutional(SHAPES), SHAPES)
    return open_model(storage, prefix, SHAPES)


def export(model: PublishedModel, format: str, storage: Storage) -> Manifest:
    return export_here("e1", model, format, IMAGES, "samples", storage, CONFIG)


@pytest.mark.parametrize("format", FORMATS)
def test_the_runtime_of_each_format_predicts_as_keras_does(
    model: PublishedModel, format: str, s3_uri: str
) -> None:
    """On S3 too, where the file is one object, and a SavedModel a folder of them."""
    storage = open_storage(s3_uri)
    manifest = export(model, format, storage)
    check = manifest.details["check"]
    assert (check["images"], check["other_labels"]) == (300, 0)
    assert 0 <= check["largest_difference"] < 1e-5
    assert manifest.details["model"] == model.sha256
    assert set(FORMATS[format].packages) <= set(manifest.details["versions"])
    file = FORMATS[format].file
    names = {name for name in manifest.files if name == file or name.startswith(f"{file}/")}
    assert names and set(manifest.files) == names | {"config.toml"}
    for entry in manifest.files.values():
        assert storage.digest(f"{exports_folder('e1')}/{entry.path}").sha256 == entry.sha256


def test_an_export_that_predicts_otherwise_is_not_published(
    model: PublishedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = FORMATS["saved_model"]

    def wrong(path: Path, shape: tuple[int, ...]) -> formats.Predict:
        predict = right.open(path, shape)
        return lambda images: np.roll(predict(images), 1, axis=1)

    monkeypatch.setitem(FORMATS, "saved_model", replace(right, open=wrong))
    with pytest.raises(UserError, match="300 of 300 images get another label than from Keras"):
        export(model, "saved_model", open_storage(str(tmp_path)))
    assert not list(tmp_path.rglob("manifest.json"))


def test_what_is_compared() -> None:
    expected = np.array([[0.6, 0.4], [0.5, 0.5], [0.1, 0.9]], np.float32)
    found = expected + np.array([[0, 0], [-0.1, 0.1], [0, 0]], np.float32)
    check = compare(expected, found)
    assert (check.images, check.other_labels) == (3, 1)
    assert check.largest_difference == pytest.approx(0.1)


@pytest.mark.parametrize(("format", "extra"), [("onnx", "onnx"), ("litert", "litert")])
def test_a_missing_extra_is_named_in_one_line(
    format: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_installed(format)
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    with pytest.raises(UserError) as error:
        check_installed(format)
    assert f"needs the extra {extra}" in str(error.value) and "\n" not in str(error.value)
    check_installed("saved_model")
