import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fmnist.errors import UserError
from fmnist.models.architectures import build
from fmnist.models.classifier import Classifier, batch_rows
from fmnist.runs.published import open_model
from fmnist.storage.manifest import publish, read_manifest
from fmnist.storage.open import Storage, open_storage
from fmnist.tasks import FASHION, Task
from tests.support.models import convolutional, dense, publish_run
from tests.support.samples import SHAPES, examples


@pytest.fixture(scope="module")
def model() -> Any:
    return convolutional(SHAPES)


@pytest.fixture(scope="module")
def classifier(model: Any) -> Classifier:
    return Classifier(model)


IMAGES = examples(SHAPES, 700).images


def test_predicts_what_the_model_predicts(model: Any, classifier: Classifier) -> None:
    probabilities = classifier(IMAGES)
    assert probabilities.dtype == np.float32 and probabilities.shape == (700, 4)
    np.testing.assert_allclose(probabilities, model(IMAGES).numpy(), rtol=1e-4, atol=1e-6)


def test_a_row_does_not_depend_on_its_neighbours(classifier: Classifier) -> None:
    together = classifier(IMAGES)
    order = np.random.default_rng(0).permutation(len(IMAGES))
    np.testing.assert_array_equal(classifier(IMAGES[order]), together[order])
    for start, stop in [(0, 1), (3, 516), (699, 700)]:
        np.testing.assert_array_equal(classifier(IMAGES[start:stop]), together[start:stop])


def test_a_row_of_the_reports_cnn_does_not_depend_on_its_place() -> None:
    """Kernels differ by the sizes of what they multiply."""
    classifier = Classifier(build("cnn", FASHION, activation="relu", precision="float32"))
    images = examples(FASHION, 600).images
    order = np.random.default_rng(0).permutation(len(images))
    np.testing.assert_array_equal(classifier(images[order]), classifier(images)[order])


def test_no_images_have_no_probabilities(classifier: Classifier) -> None:
    assert classifier(IMAGES[:0]).shape == (0, 4)


def test_traces_the_model_once(classifier: Classifier) -> None:
    for rows in (1, 5, 511, 512, 513, 600):
        classifier(IMAGES[:rows])
    assert classifier._predict.experimental_get_tracing_count() == 1


def test_a_file_predicts_like_the_model_it_was_saved_from(
    model: Any, classifier: Classifier, tmp_path: Path
) -> None:
    model.save(tmp_path / "model.keras")
    loaded = Classifier(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(IMAGES), classifier(IMAGES))
    assert (loaded.shape, loaded.classes) == (SHAPES.shape, 4)


@pytest.mark.parametrize(
    ("shape", "rows", "gpu_rows"),
    [((28, 28, 1), 512, 4096), ((224, 224, 3), 4, 64), ((1024, 1024, 16), 1, 1)],
)
def test_a_batch_of_large_images_has_fewer_rows(
    shape: tuple[int, int, int], rows: int, gpu_rows: int
) -> None:
    assert (batch_rows(shape), batch_rows(shape, gpu=True)) == (rows, gpu_rows)


def test_a_damaged_file_is_the_users_mistake(model: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    model.save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UserError, match=r"model\.keras is no Keras model"):
        Classifier(path)


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    import keras

    path = tmp_path / "model.keras"
    doubled = keras.layers.Lambda(lambda x: x * 2)
    keras.Sequential([keras.Input((2, 2, 1), dtype="uint8"), doubled]).save(path)
    assert zipfile.is_zipfile(path)
    with pytest.raises(UserError, match=r"model\.keras is no Keras model that can be loaded"):
        Classifier(path)


def test_a_model_that_takes_no_images_is_refused() -> None:
    import keras

    model = keras.Sequential([keras.Input((7,)), keras.layers.Dense(3)])
    with pytest.raises(
        UserError, match=r"takes \(None, 7\) and gives \(None, 3\), expected images"
    ):
        Classifier(model)


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    folder = tmp_path_factory.mktemp("published")
    storage = open_storage(str(folder / "results"))
    publish_run(storage, folder / "model", dense(SHAPES), SHAPES)
    return storage


def test_a_published_model_is_found_and_verified(storage: Storage) -> None:
    found = open_model(storage, "runs/r1", SHAPES)
    manifest = read_manifest(storage, "runs/r1")
    assert manifest is not None
    entry = manifest.files["model.keras"]
    assert (found.run, found.sha256, found.task) == ("r1", entry.sha256, SHAPES)
    assert found.data == storage.read(f"runs/r1/{entry.path}")


def test_a_folder_without_a_manifest_is_refused(storage: Storage) -> None:
    storage.write("runs/unfinished/model.keras", b"")
    with pytest.raises(UserError, match=r"runs/unfinished: found no manifest\.json"):
        open_model(storage, "runs/unfinished", SHAPES)


def test_a_folder_of_something_else_is_refused(storage: Storage, tmp_path: Path) -> None:
    publish(storage, "predictions/p", tmp_path, kind="predictions", id="p", details={})
    with pytest.raises(UserError, match="found 'predictions', expected a run"):
        open_model(storage, "predictions/p", SHAPES)


def test_a_model_of_another_task_is_refused_with_all_differences(storage: Storage) -> None:
    with pytest.raises(UserError) as caught:
        open_model(storage, "runs/r1", FASHION)
    for difference in ("name is 'shapes'", "shape is [12, 20, 3]", "expected [28, 28, 1]"):
        assert difference in str(caught.value)


def test_a_model_of_another_input_shape_is_refused(storage: Storage) -> None:
    wider = Task(name=SHAPES.name, classes=SHAPES.classes, shape=(12, 21, 3))
    with pytest.raises(UserError, match=r"shape is \[12, 20, 3\], expected \[12, 21, 3\]"):
        open_model(storage, "runs/r1", wider)


def test_a_model_file_that_was_changed_is_refused(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path / "results"))
    prefix = publish_run(storage, tmp_path / "model", dense(SHAPES), SHAPES)
    manifest = read_manifest(storage, prefix)
    assert manifest is not None
    entry = manifest.files["model.keras"]
    key = f"{prefix}/{entry.path}"
    storage.write(key, storage.read(key)[:-1] + b"?")
    with pytest.raises(UserError, match=rf"model\.keras: found .* expected {entry.sha256}"):
        open_model(storage, prefix, SHAPES)
