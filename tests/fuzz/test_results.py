"""Readers of the storage return a result or raise a UserError, for any files in it."""

import io
import json
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import example, given
from hypothesis import strategies as st

from fmnist.errors import UserError
from fmnist.registry.champion import read_champion
from fmnist.retraining.pending import read_pending
from fmnist.runs.published import open_model, task_of_run
from fmnist.scoring.predictions import CollectedLabels
from fmnist.storage.manifest import Manifest, content_id, read_manifest
from fmnist.storage.open import LocalStorage, check_key
from fmnist.training.checkpoints import TrainingState
from tests.support.checkpoints import SAVED, checkpoint
from tests.support.fuzzing import TABLES, altered, bytes_like, fuzz, parquet
from tests.support.samples import SHAPES, examples

PART = examples(SHAPES, 6)


def take_over(storage: LocalStorage, data: bytes) -> CollectedLabels:
    storage.write("labels/x.parquet", data)
    collected = CollectedLabels(ids=np.sort(PART.ids), classes=4)
    unfit = collected.add_files(storage, "labels", ["x.parquet"])
    assert bool(unfit) == (not collected.scored().any())
    return collected


PREDICTED = {"id": PART.ids, "label": PART.labels, "model": ["r1"] * 6}


@fuzz(200)
@given(bytes_like(parquet(pa.table(PREDICTED)), parquet(pa.table(PREDICTED), row_group_size=2)))
def test_labels_that_were_predicted(memory_storage: LocalStorage, data: bytes) -> None:
    take_over(memory_storage, data)


@fuzz(150)
@given(TABLES)
def test_labels_of_any_columns(memory_storage: LocalStorage, data: bytes) -> None:
    take_over(memory_storage, data)


def test_sound_labels_are_taken_over(memory_storage: LocalStorage) -> None:
    assert take_over(memory_storage, parquet(pa.table(PREDICTED))).scored().sum() == 6


ENTRY = {"path": "0a/model.keras", "size": 3, "sha256": "0" * 64}
RUN = {
    "kind": "run",
    "id": "shapes-cnn-1",
    "files": {"model.keras": ENTRY},
    "details": {"task": {"name": "shapes", "classes": ["a", "b"], "shape": [12, 20, 3]}},
}


@fuzz(400)
@given(altered(RUN))
@example(json.dumps(RUN).encode())
def test_manifest(memory_storage: LocalStorage, data: bytes) -> None:
    memory_storage.write("runs/x/manifest.json", data)
    with suppress(UserError):
        manifest = read_manifest(memory_storage, "runs/x")
        assert isinstance(manifest, Manifest)
        for name, entry in manifest.files.items():
            assert check_key(name) and check_key(entry.path)
        assert check_key(manifest.id)
        task = task_of_run(memory_storage, "runs/x")
        assert task.pixels >= 1 and all(name.isprintable() for name in task.classes)
        open_model(memory_storage, "runs/x", SHAPES)


MOVE = {"counter": 1, "run": "a-1", "reason": "promoted", "command": "x", "time": "2020"}
CHAMPION = {
    "task": "shapes",
    "counter": 2,
    "run": "a-2",
    "history": [MOVE, MOVE | {"counter": 2, "run": "a-2"}],
}


PENDING_FIELDS: dict[str, Any] = {
    "counter": 2,
    "token": "x",
    "run": "a-2",
    "seed": 0,
    "verdict": {
        "outcome": "promoted",
        "reason": "",
        "before": {"run": "a-1", "counter": 1},
        "after": {"run": "a-2", "counter": 2},
        "gate": {"margin": 0.0, "confidence": 0.95},
        "decision": None,
        "evaluations": {},
    },
}
PENDING = PENDING_FIELDS | {"digest": content_id(json.dumps(PENDING_FIELDS, sort_keys=True))}


@fuzz(300)
@given(altered(CHAMPION))
@example(json.dumps(CHAMPION).encode())
def test_champion(memory_storage: LocalStorage, data: bytes) -> None:
    memory_storage.write("registry/shapes/champion.json", data)
    with suppress(UserError):
        champion = read_champion(memory_storage, "shapes")
        assert champion is not None and champion.counter == len(champion.history)
        for run in (champion.run, *champion.predecessors, *champion.rolled_back):
            assert check_key(run) == run


@fuzz(200)
@given(altered(PENDING))
@example(json.dumps(PENDING).encode())
def test_pending_promotion(memory_storage: LocalStorage, data: bytes) -> None:
    memory_storage.write("registry/shapes/verdicts/2-x.json", data)
    with suppress(UserError):
        (pending,) = read_pending(memory_storage, "shapes")
        assert pending.result.after.counter == 2


def test_a_sound_pending_promotion_is_read(memory_storage: LocalStorage) -> None:
    memory_storage.write("registry/shapes/verdicts/2-x.json", json.dumps(PENDING).encode())
    assert read_pending(memory_storage, "shapes")[0].run == "a-2"


def numpy(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


ARRAYS = numpy(a=np.ones((2, 3), np.float32), b=np.array(2), c=np.zeros(0, np.uint32))


@fuzz(150)
@given(altered(SAVED), st.just(ARRAYS))
@example(json.dumps(SAVED | {"epoch": 10**15}).encode(), ARRAYS)
def test_progress_of_a_checkpoint(
    memory_storage: LocalStorage, progress: bytes, arrays: bytes
) -> None:
    found = checkpoint(memory_storage, progress, arrays).newest()
    assert found is None or found[0].best_epoch is None or found[0].best_epoch <= found[0].epoch


@fuzz(150)
@given(bytes_like(ARRAYS))
@example(numpy(a=np.array([{}], object)))
@example(numpy())
@example(b"\x93NUMPY" + ARRAYS)
def test_arrays_of_a_checkpoint(memory_storage: LocalStorage, arrays: bytes) -> None:
    found = checkpoint(memory_storage, json.dumps(SAVED).encode(), arrays).newest()
    assert found is None or all(array.dtype != object for array in found[1])


def test_a_sound_checkpoint_among_stray_keys_is_found(memory_storage: LocalStorage) -> None:
    checkpoints = checkpoint(memory_storage, json.dumps(SAVED).encode(), ARRAYS)
    for stray in ("manifest.json", "latest/manifest.json", "00009/0a/manifest.json"):
        memory_storage.write(f"runs/c/checkpoints/{stray}", b"{}")
    progress, variables = checkpoints.newest() or (TrainingState(precision=""), [])
    assert progress == TrainingState(**SAVED) and len(variables) == 3  # type: ignore[arg-type]
