"""The jobs that are disturbed: their commands, and the results that each must publish."""

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow.dataset as pads

from fmnist.data.dataset import Dataset
from fmnist.data.export import export_parquet
from fmnist.data.formats.parquet import write_part
from fmnist.storage.manifest import read_manifest
from fmnist.storage.open import Storage, open_storage
from tests.support import samples
from tests.support.models import convolutional, publish_run
from tests.support.samples import SHAPES

KINDS = ("train", "compare", "score", "retrain")
# Fields of a history's row, and parts of a page, that depend on the clock or the machine.
MEASURED = {"seconds", "images_per_second", "command", "hardware", "nodes", "source", "id"}
TOML = 'name = "shapes"\nclasses = ["circle", "square", "star", "dot"]\nheight = 12\nwidth = 20\n'
# Few steps and small checkpoints (SGD has no state), so that several lives take a minute.
SMALL = ("--architecture", "dense", "--batch", "16", "--cpus-per-worker", "1")
EASY_GATE = ("--confidence", "0", "--margin", "0.9")
IMAGES = 400  # to train on


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job of one kind; `workers` of each training run in it."""

    kind: str
    workers: int

    @property
    def name(self) -> str:
        return f"{self.kind} with {self.workers} workers"

    def command(self, data: Path, uri: str) -> list[str]:
        """Returns the module and its flags, for a storage root that `prepare` has prepared."""
        task = ("--task", str(data / "shapes.toml"), "--storage", uri)
        training = (*SMALL, "--workers", str(self.workers), *task)
        first, second = ("--data", str(data / "first")), ("--data", str(data / "second"))
        flags = {
            "train": (*first, *training, "--epochs", "6", "--augmentation", "flip"),
            "compare": (*first, *training, "--epochs", "3", "--activation", "relu,tanh"),
            "score": (*task, "--run", "r1", "--data", str(data / "many"), "--actors", "2"),
            "retrain": (*second, *training, "--epochs", "3", "--actors", "2", *EASY_GATE),
        }
        return [f"jobs.{self.kind}", *flags[self.kind]]

    def first_night(self, data: Path, uri: str) -> list[str] | None:
        """Returns a retraining that makes a first champion, if one must run before; else None."""
        if self.kind != "retrain":
            return None
        command = self.command(data, uri)
        command[command.index(str(data / "second"))] = str(data / "first")
        return command


def make_data(folder: Path) -> None:
    """Makes two data sets to train on, one to score, their task, and the run of a small network."""
    (folder / "shapes.toml").write_text(TOML + "channels = 3\n")
    for name, seed in (("first", 1), ("second", 3)):
        parts = {
            "train": samples.examples(SHAPES, IMAGES, seed),
            "test": samples.examples(SHAPES, 60, seed + 1),
        }
        export_parquet(Dataset(task=SHAPES, source="", **parts), str(folder / name))
    write_part(samples.examples(SHAPES, 24_000), *open_storage(str(folder / "many")).arrow("test"))
    publish_run(
        open_storage(str(folder / "model")), folder / "saved", convolutional(SHAPES), SHAPES
    )


def copy(source: Storage, target: Storage) -> None:
    """Writes every key of one root into another."""
    for key in source.keys(""):
        target.write(key, source.read(key))


def results(storage: Storage) -> dict[str, Any]:
    """Returns all published results of a root without times and places, which differ."""
    found: dict[str, Any] = {}
    for key in storage.keys(""):
        folder, _, name = key.rpartition("/")
        kind = folder.partition("/")[0]
        if name == "manifest.json" and folder.count("/") == 1:
            result = _RESULTS[kind](storage, folder)
            if called := _name(storage, folder, result):
                found[called] = result
        elif name == "champion.json":
            history = json.loads(storage.read(key))["history"]
            found[key] = [(move["run"], move["reason"]) for move in history]
    return found


def _name(storage: Storage, folder: str, result: Any) -> str | None:
    """The ids of runs follow from data and configuration; the others also from what took time.

    None for a retraining with nothing to do, as of a job that is started again after its end.
    """
    kind = folder.partition("/")[0]
    if kind == "runs":
        return folder
    if kind == "retrainings":
        return f"{kind} of {result['challenger']}" if result["challenger"] else None
    if kind == "predictions":
        manifest = read_manifest(storage, folder)
        assert manifest is not None
        return f"{kind} of {manifest.details['dataset']['fingerprint']}"
    return kind


def _run(storage: Storage, folder: str) -> Any:
    if folder == "runs/r1":  # published by the tests themselves
        return None
    names = {key.split("/")[3] for key in storage.keys(f"{folder}/checkpoints")}
    last = f"{folder}/checkpoints/{max(names)}"
    checkpoint = read_manifest(storage, last)
    assert checkpoint is not None, f"{last} is not whole"
    progress = json.loads(storage.read(f"{last}/{checkpoint.files['progress.json'].path}"))
    return {
        "metrics": _file(storage, folder, "metrics.json"),
        "variables": checkpoint.files["variables.npz"].sha256,
        "history": _calm(progress["history"]),
    }


def _predictions(storage: Storage, folder: str) -> Any:
    system, path = storage.arrow(f"{folder}/labels")
    table = pads.dataset(path, filesystem=system, format="parquet").to_table().sort_by("id")
    labels = str(list(zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True)))
    submission = _file(storage, folder, "submission.csv")
    return hashlib.sha256(labels.encode()).hexdigest(), hashlib.sha256(submission).hexdigest()


def _comparison(storage: Storage, folder: str) -> Any:
    facts = _calm(json.loads(_file(storage, folder, "comparison.json")))
    return {name: facts[name] for name in ("cells", "config", "dataset", "seeds", "task")}


def _retraining(storage: Storage, folder: str) -> Any:
    summary = json.loads(_file(storage, folder, "summary.json"))
    names = ("outcome", "reason", "champion", "challenger", "decision", "evaluations", "held_out")
    return _calm({name: summary[name] for name in (*names, "gate", "pruned")})


_RESULTS = {
    "runs": _run,
    "predictions": _predictions,
    "comparisons": _comparison,
    "retrainings": _retraining,
}


def _file(storage: Storage, folder: str, name: str) -> bytes:
    manifest = read_manifest(storage, folder)
    assert manifest is not None, folder
    entry = manifest.files[name]
    content = storage.read(f"{folder}/{entry.path}")
    assert hashlib.sha256(content).hexdigest() == entry.sha256, f"{folder}/{entry.path}"
    return content


def _calm(value: Any) -> Any:
    """Returns JSON without measured values."""
    if isinstance(value, dict):
        return {name: _calm(each) for name, each in value.items() if name not in MEASURED}
    return [_calm(each) for each in value] if isinstance(value, list) else value


@cache
def all_jobs() -> tuple[Job, ...]:
    """Returns all jobs that a round may draw."""
    trained = [Job(kind="train", workers=workers) for workers in (1, 2, 3)]
    others = [Job(kind=kind, workers=1) for kind in KINDS if kind != "train"]
    return (*trained, *others, Job(kind="retrain", workers=2))
