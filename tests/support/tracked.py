"""Published runs, comparisons and retrainings, made without Ray, for whatever is told of them."""

import json
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fmnist.registry.champion import promote, read_champion
from fmnist.retraining.result import ChampionVersion
from fmnist.retraining.summary import ChampionChange
from fmnist.runs.history import EpochRow
from fmnist.runs.ids import run_folder
from fmnist.runs.published import HISTORY, MODEL
from fmnist.storage.manifest import publish
from fmnist.storage.open import Storage
from fmnist.tasks import FASHION
from tests.support.pages.comparisons import a_comparison
from tests.support.pages.retrainings import a_summary

DATASET = {"source": "folder of images at /images", "fingerprint": "c0ffee" * 10, "train": 90}
HISTORY_ROWS: list[EpochRow] = [
    {"epoch": 1, "loss": 0.5, "accuracy": 0.7, "learning_rate": 1e-3, "seconds": 2.0,
     "images_per_second": 45.0},
    {"epoch": 2, "loss": 0.25, "accuracy": 0.875, "learning_rate": 5e-4, "seconds": 3.0,
     "images_per_second": 30.0},
]  # fmt: skip


def publish_run(storage: Storage, seed: int = 0) -> str:
    """Publishes a run of two epochs; returns its folder."""
    run = f"fashion-cnn-{seed:012x}"
    details = {
        "task": FASHION.details,
        "dataset": DATASET,
        "config": {"architecture": "cnn", "seed": seed, "learning_rate": 1e-3, "gpu": False},
        "command": "fmnist train --epochs 2",
        "parameters": 1234,
        "layers": 5,
        "scores": {"test": {"examples": 10, "loss": 0.3, "accuracy": 0.9}},
    }
    return _publish(
        storage, run_folder(run), "run", details, {MODEL: b"a model"}, history=HISTORY_ROWS
    )


def publish_comparison(
    storage: Storage, runs: Sequence[str], *, stopped: Collection[str] = (), id: str | None = None
) -> str:
    """Publishes a comparison of a cell with these runs, by folder; returns its folder.

    Those in `stopped` were stopped early, after their first epoch.
    """
    whole = a_comparison(seeds=len(runs), epochs=2)
    cell = whole.cells[0]
    same = [
        replace(run, id=folder.rpartition("/")[2], stopped_at=1 if folder in stopped else None)
        for run, folder in zip(cell.runs, runs, strict=True)
    ]
    comparison = replace(whole, task=FASHION, cells=[replace(cell, runs=same)])
    details = {"name": "custom", "best": cell.name, "runs": len(runs), "failed": 1, "command": ""}
    facts = json.dumps(comparison.to_json(), allow_nan=False).encode()
    folder = f"comparisons/{id or comparison.id}"
    return _publish(storage, folder, "comparison", details, {"comparison.json": facts})


def publish_retraining(storage: Storage, challenger: str) -> str:
    """Makes the run in that folder champion, and publishes the retraining; returns its folder."""
    run = challenger.rpartition("/")[2]
    before = read_champion(storage, FASHION.name)
    now = promote(storage, FASHION.name, run, expected=before, command="a test")
    assert now
    after = ChampionVersion.of(now)
    summary = replace(
        a_summary(), challenger=run, champion=ChampionChange(before=None, after=after)
    )
    facts = summary.to_json()
    details = {name: facts[name] for name in ("outcome", "reason", "champion", "command")}
    content = json.dumps(facts, allow_nan=False).encode()
    folder = f"retrainings/{summary.id}"
    return _publish(storage, folder, "retraining", details, {"summary.json": content})


def _publish(
    storage: Storage,
    folder: str,
    kind: str,
    details: dict[str, Any],
    files: Mapping[str, bytes],
    *,
    history: list[EpochRow] | None = None,
) -> str:
    with tempfile.TemporaryDirectory() as temporary:
        for name, content in files.items():
            Path(temporary, name).write_bytes(content)
        if history:
            pq.write_table(pa.Table.from_pylist(history), Path(temporary, HISTORY))
        id = folder.rpartition("/")[2]
        publish(storage, folder, Path(temporary), kind=kind, id=id, details=details)
    return folder
