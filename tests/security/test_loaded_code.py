"""Code in models, checkpoints and Parquet files is never run."""

import ast
import io
import json
import os
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from fmnist.data.formats.parquet_schema import to_table
from fmnist.data.load import load
from fmnist.errors import UserError
from fmnist.models.classifier import Classifier
from fmnist.runs.published import open_model
from fmnist.storage.manifest import publish, read_manifest
from fmnist.storage.open import Storage
from fmnist.training.checkpoints import Checkpoints
from tests.support.checkpoints import SAVED, checkpoint
from tests.support.models import dense, publish_run
from tests.support.paths import ROOT
from tests.support.samples import SHAPES, examples

LOADERS = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "torch"}
CALLS = {"eval", "exec", "compile", "__import__", "system", "popen", "read_pickle", "extractall"}
# The only text that is run is that of a file which the user's flag has named.
NAMED_BY_A_FLAG = (ROOT / "fmnist/models/own_network.py", {"exec", "compile"})
SAFE = {"load": ("allow_pickle", False), "load_model": ("safe_mode", True)}


def test_no_code_of_ours_loads_code() -> None:
    """No module that unpickles is imported, no text is evaluated, no shell is started."""
    for path in [*(ROOT / "fmnist").rglob("*.py"), *(ROOT / "jobs").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            where = f"{path}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [*(alias.name for alias in node.names), getattr(node, "module", "") or ""]
                assert not LOADERS & {part for name in names for part in name.split(".")}, where
            if isinstance(node, ast.Call):
                own_file, calls = NAMED_BY_A_FLAG
                check_call(node, where, CALLS - calls if path == own_file else CALLS)


def test_no_json_of_ours_has_numbers_that_are_not_json() -> None:
    """NaN and infinities are not valid JSON, and most readers refuse them."""
    for path in (ROOT / "fmnist").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("json.dumps", "json.dump"):
                given = {each.arg: ast.unparse(each.value) for each in node.keywords}
                assert given.get("allow_nan") == "False", f"{path}:{node.lineno}"


def check_call(call: ast.Call, where: str, refused: set[str]) -> None:
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    owner = getattr(getattr(call.func, "value", None), "id", "")
    given = {each.arg: getattr(each.value, "value", None) for each in call.keywords}
    assert name not in refused or owner in ("re", "model"), where  # re.compile, model.compile
    assert owner != "yaml" or name in ("safe_load", "dump"), where
    assert not given.get("shell") and not given.get("allow_pickle"), where
    if name in SAFE and owner in ("np", "saving"):
        argument, value = SAFE[name]
        assert given.get(argument) is value, where


class Attack:
    """Makes a folder if it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


@pytest.fixture
def trace(tmp_path: Path) -> Iterator[Path]:
    """The path of a folder that hostile code would make; checks that it does not exist."""
    path = tmp_path / "attacked"
    yield path
    assert not path.exists()


def with_layer(folder: Path, layer: dict[str, Any]) -> Path:
    """Writes a Keras file with this as its last layer."""
    path, changed = folder / "plain.keras", folder / "model.keras"
    dense(SHAPES).save(path)
    with zipfile.ZipFile(path) as plain, zipfile.ZipFile(changed, "w") as hostile:
        for name in plain.namelist():
            data = plain.read(name)
            if name == "config.json":
                config = json.loads(data)
                config["config"]["layers"][-1] |= layer
                data = json.dumps(config).encode()
            hostile.writestr(name, data)
    path.unlink()
    return changed


def hostile_layers(trace: Path) -> dict[str, dict[str, Any]]:
    code = f"__import__('os').mkdir({str(trace)!r})"
    function = {"class_name": "function", "config": "mkdir", "module": "os"}
    return {
        "module": {"module": "os", "class_name": "mkdir", "config": {"path": str(trace)}},
        "builtin": {"module": "builtins", "class_name": "exec", "config": {"source": code}},
        "helper": {
            "module": "keras.src.utils.python_utils",
            "class_name": "func_load",
            "config": {"code": code},
        },
        "lambda": {
            "module": "keras.layers",
            "class_name": "Lambda",
            "config": {"name": "x", "function": function, "arguments": {"path": str(trace)}},
        },
    }


@pytest.mark.parametrize("kind", ["module", "builtin", "helper", "lambda"])
def test_code_named_in_a_published_model_is_not_run(
    storage: Storage, tmp_path: Path, trace: Path, kind: str
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    with_layer(folder, hostile_layers(trace)[kind])
    refused(storage, folder)


def test_code_in_a_published_model_is_not_run(
    storage: Storage, tmp_path: Path, trace: Path
) -> None:
    import keras

    folder, place = tmp_path / "model", str(trace)
    folder.mkdir()

    def attack(x: Any) -> Any:
        import os

        os.mkdir(place)  # noqa: PTH102
        return x

    layers = [keras.Input(SHAPES.shape), keras.layers.Lambda(attack, output_shape=SHAPES.shape)]
    place = str(tmp_path / "when made")  # Keras calls the function to make the model
    model = keras.Sequential(layers)
    place = str(trace)
    model.save(folder / "model.keras")
    refused(storage, folder)


def test_a_pickle_as_a_published_model_is_not_run(
    storage: Storage, tmp_path: Path, trace: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.keras").write_bytes(pickle.dumps(Attack(trace)))
    refused(storage, folder)


def refused(storage: Storage, folder: Path) -> None:
    """Publishes the model in this folder, and checks that Keras refuses it."""
    task = {"name": SHAPES.name, "classes": SHAPES.classes, "shape": SHAPES.shape}
    publish(storage, "runs/r1", folder, kind="run", id="r1", details={"task": task})
    file = folder / "fetched.keras"
    file.write_bytes(open_model(storage, "runs/r1", SHAPES).data)
    with pytest.raises(UserError, match="is no Keras model"):
        Classifier(file)


def test_a_changed_model_is_refused_before_keras_sees_it(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    prefix = publish_run(storage, tmp_path / "model", dense(SHAPES), SHAPES)
    manifest = read_manifest(storage, prefix)
    assert manifest is not None
    key = f"{prefix}/{manifest.files['model.keras'].path}"
    storage.write(key, with_layer(tmp_path, {}).read_bytes())
    monkeypatch.setattr(keras.saving, "load_model", lambda *_, **__: pytest.fail("was loaded"))
    with pytest.raises(UserError, match=r"model\.keras: found .* with SHA-256"):
        open_model(storage, prefix, SHAPES)


def test_pickles_in_a_checkpoint_are_not_loaded(storage: Storage, trace: Path) -> None:
    stream = io.BytesIO()
    np.savez(stream, np.array([Attack(trace)], object), allow_pickle=True)
    progress = SAVED | {"epoch": 1, "history": [{"epoch": 1}]}
    for arrays in (stream.getvalue(), pickle.dumps(Attack(trace))):
        made: Checkpoints = checkpoint(storage, json.dumps(progress).encode(), arrays)
        assert made.newest() is None


@pytest.mark.parametrize("name", ["ray.data.arrow_tensor_v2", "ray.data.arrow_pickled_object"])
def test_pickles_in_parquet_are_not_loaded(tmp_path: Path, trace: Path, name: str) -> None:
    """Older Ray versions unpickled the metadata or the values of these Arrow types."""
    import ray.data  # registers them

    assert ray.data
    part = examples(SHAPES, 3)
    attack = pickle.dumps(Attack(trace))
    hostile = {b"ARROW:extension:name": name.encode(), b"ARROW:extension:metadata": attack}
    table = to_table(part)
    values = pa.array([attack] * 3, pa.large_binary())
    for at, (column, array) in enumerate((("image", values), ("more", values))):
        field = pa.field(column, array.type, metadata=hostile)
        changed = (
            table.set_column(1, field, array) if at == 0 else table.append_column(field, array)
        )
        path = tmp_path / f"{column}.parquet"
        pq.write_table(changed, path)
        try:
            load(SHAPES, str(path))
        except UserError:
            continue
        assert column == "more"  # a column that is not read
