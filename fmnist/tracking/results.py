"""What a tracking server is told of a published result, read from the storage and verified."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fmnist.comparison.facts import CELL_FIELDS, FACTS
from fmnist.errors import UserError
from fmnist.retraining.result import SUMMARY
from fmnist.runs.history import EpochRow
from fmnist.runs.ids import run_folder
from fmnist.runs.published import HISTORY, MODEL, read_history, read_published
from fmnist.storage.manifest import MANIFEST, Manifest, read_manifest
from fmnist.storage.open import Storage

FILES_OF_FACTS = {"comparison": FACTS, "retraining": SUMMARY}  # by kind


@dataclass(frozen=True, kw_only=True)
class TrackedResult:
    """A published run, comparison or retraining.

    `files` are paths or URIs by name. `scores` are final numbers, `history` those of each epoch.
    `runs` are the ids of the runs that belong to it, `stopped` the runs of a comparison that were
    stopped early: they are not published, but their facts are the comparison's.
    """

    id: str
    kind: str
    place: str
    task: str
    files: Mapping[str, str]
    command: str
    params: Mapping[str, object]
    scores: Mapping[str, float]
    dataset: Mapping[str, object]
    facts: Mapping[str, str] = field(default_factory=dict)
    history: Sequence[EpochRow] = ()
    runs: Sequence[str] = ()
    stopped: Sequence["TrackedResult"] = ()

    @property
    def seconds(self) -> float:
        """Seconds that its epochs took."""
        return sum(row["seconds"] for row in self.history)


def read_result(storage: Storage, folder: str) -> TrackedResult:
    """Reads the result in that folder of the storage root; UserError if none is published there."""
    manifest = read_manifest(storage, folder)
    if manifest is None:
        raise UserError(f"{storage.uri}/{folder}: found no {MANIFEST}, expected a published result")
    if manifest.kind == "run":
        return _run(storage, folder, manifest)
    facts = _read_facts(storage, folder, manifest)
    read = _comparison if manifest.kind == "comparison" else _retraining
    return read(storage, folder, manifest, facts)


def is_published(storage: Storage, run: str) -> bool:
    """Returns True if the run is there; a retraining may have deleted it."""
    return read_manifest(storage, run_folder(run)) is not None


def _run(storage: Storage, folder: str, manifest: Manifest) -> TrackedResult:
    details = manifest.details
    history = read_history(storage, folder, manifest) if HISTORY in manifest.files else []
    size = {name: details[name] for name in ("parameters", "layers") if name in details}
    return TrackedResult(
        **_common(storage, folder, manifest),
        task=details["task"]["name"],
        params=details["config"] | size,
        scores=_final_scores(details.get("scores", {})),
        dataset=details.get("dataset", {}),
        facts={"model_sha256": manifest.files[MODEL].sha256} if MODEL in manifest.files else {},
        history=history,
    )


def _comparison(
    storage: Storage, folder: str, manifest: Manifest, facts: dict[str, Any]
) -> TrackedResult:
    details = manifest.details
    common = _common(storage, folder, manifest)
    runs = [(cell, run) for cell in facts["cells"] for run in cell["runs"]]
    return TrackedResult(
        **common,
        task=facts["task"]["name"],
        params=facts["config"] | {"seeds": facts["seeds"], "cells": len(facts["cells"])},
        scores={name: float(details[name]) for name in ("runs", "failed")},
        dataset=facts["dataset"],
        facts={"best_cell": details["best"]} if details["best"] else {},
        runs=[run["id"] for _, run in runs if run["stopped_at"] is None],
        stopped=[
            _stopped(common, facts, cell, run)
            for cell, run in runs
            if run["stopped_at"] is not None
        ],
    )


def _stopped(
    common: dict[str, Any], facts: dict[str, Any], cell: dict[str, Any], run: dict[str, Any]
) -> TrackedResult:
    """Returns a run that the comparison stopped early; its place is that of the comparison."""
    settings = {name: value for name, value in cell.items() if name not in CELL_FIELDS}
    size = {name: run[name] for name in ("parameters", "layers")}
    return TrackedResult(
        **common | {"id": run["id"], "kind": "run", "files": {}},
        task=facts["task"]["name"],
        params=facts["config"] | settings | {"seed": run["seed"]} | size,
        scores=_final_scores(run["scores"]),
        dataset=facts["dataset"],
        facts={"stopped_at": str(run["stopped_at"])},
        history=run["history"],
    )


def _final_scores(parts: Mapping[str, Any]) -> dict[str, float]:
    return {
        f"{part}_{name}": float(found[name])
        for part, found in parts.items()
        for name in ("loss", "accuracy")
    }


def _retraining(
    storage: Storage, folder: str, manifest: Manifest, facts: dict[str, Any]
) -> TrackedResult:
    accuracies = {
        f"{name}_accuracy": float(found["accuracy"]) for name, found in facts["evaluations"].items()
    }
    decision = facts["decision"] or {}
    numbers = {name: float(decision[name]) for name in ("difference", "p") if name in decision}
    said = {name: facts[name] for name in ("outcome", "reason")}
    return TrackedResult(
        **_common(storage, folder, manifest),
        task=facts["task"]["name"],
        params=facts["config"] | facts["gate"],
        scores=accuracies | numbers,
        dataset=facts["dataset"],
        facts=said | {"champion": facts["champion"]["after"]["run"]},
        runs=[facts["challenger"]] if facts["challenger"] else [],
    )


def _common(storage: Storage, folder: str, manifest: Manifest) -> dict[str, Any]:
    place = f"{storage.uri}/{folder}"
    return {
        "id": manifest.id,
        "kind": manifest.kind,
        "place": place,
        "files": {name: f"{place}/{file.path}" for name, file in manifest.files.items()},
        "command": manifest.details.get("command", ""),
    }


def _read_facts(storage: Storage, folder: str, manifest: Manifest) -> dict[str, Any]:
    if manifest.kind not in FILES_OF_FACTS:
        raise UserError(f"{storage.uri}/{folder}: found {manifest.kind!r}, expected a run or more")
    facts: dict[str, Any] = json.loads(
        read_published(storage, folder, manifest, FILES_OF_FACTS[manifest.kind])
    )
    return facts
