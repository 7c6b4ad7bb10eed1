"""Checks of a storage root after a job has ended with success."""

import json
import re
from pathlib import Path
from typing import Any

from fmnist.storage.manifest import read_manifest
from fmnist.storage.open import Storage

# Files that may stay beside results. The next job takes over the lease of a dead process.
NOTES = re.compile(
    r"runs/[^/]+/(begun|lease|stopped)\.json|runs/[^/]+/tensorboard/[^/]+"
    r"|predictions/[^/]+/lease\.json|registry/[^/]+/(champion|candidates/[^/]+)\.json"
)
DRAFT = ".fmnist-"


def differences(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """Returns the differences between the results of a disturbed and an undisturbed job."""
    problems = [f"{name}: is missing" for name in expected.keys() - found.keys()]
    problems += [f"{name}: the twin has none" for name in found.keys() - expected.keys()]
    for name in expected.keys() & found.keys():
        if found[name] != expected[name]:
            problems.append(f"{name}: {_first_difference(found[name], expected[name])}")
    return problems


def leftovers(storage: Storage) -> list[str]:
    """Returns keys that no manifest refers to, and files that are not as their manifest says."""
    there = set(storage.keys())
    keys, damaged = set(there), []
    explained = {key for key in keys if NOTES.fullmatch(key)}
    for key in sorted(keys):
        folder, _, name = key.rpartition("/")
        if name == "manifest.json":
            manifest = read_manifest(storage, folder)
            assert manifest is not None
            files = {f"{folder}/{entry.path}" for entry in manifest.files.values()}
            explained |= {key} | files
            keys |= files
            for entry in manifest.files.values():
                path = f"{folder}/{entry.path}"
                if path in there and storage.digest(path).sha256 != entry.sha256:
                    damaged.append(f"{path}: is not what its manifest says")
    problems = [f"{key}: nothing refers to it" for key in sorted(there - explained)]
    return damaged + problems + [f"{key}: is missing" for key in sorted(explained - there)]


def drafts(folder: Path) -> list[str]:
    """Returns the unfinished files of a storage root in a folder."""
    found = [path for path in folder.rglob(f"{DRAFT}*") if path.name != f"{DRAFT}lock"]
    return [f"{path.relative_to(folder)}: an unfinished file" for path in found]


def untold(storage: Storage, logs: list[str]) -> list[str]:
    """Returns moves that a process reported as done but the champion's history does not have."""
    problems = []
    for key in storage.keys("registry"):
        if key.endswith("champion.json"):
            history = json.loads(storage.read(key))["history"]
            moves = {(move["run"], str(move["counter"])) for move in history}
            told = {
                match.groups()
                for log in logs
                for match in re.finditer(r"^ *champion +(\S+) \(move (\d+)\)", log, re.MULTILINE)
            }
            problems += [f"{key}: {move} was told, and is not there" for move in told - moves]
            if not told and any("promoted: " in log for log in logs):
                problems.append(f"{key}: a promotion was told without the champion's move")
            runs = [move["run"] for move in history]
            problems += [f"{key}: {runs} has a run twice"] * (len(set(runs)) < len(runs))
    return problems


def noise(log: str) -> list[str]:
    """Returns lines that a user should never see."""
    problems = ["a traceback"] * ("Traceback (most recent call last)" in log)
    return problems + ["more than one error"] * (len(re.findall(r"^error: ", log, re.M)) > 1)


def _first_difference(found: Any, expected: Any, path: str = "") -> str:
    if isinstance(found, dict) and isinstance(expected, dict):
        if found.keys() != expected.keys():
            return f"{path} has {sorted(found)}, expected {sorted(expected)}"
        for name in found:
            if found[name] != expected[name]:
                return _first_difference(found[name], expected[name], f"{path}.{name}")
    if isinstance(found, list | tuple) and isinstance(expected, list | tuple):
        for number, (ours, theirs) in enumerate(zip(found, expected, strict=False)):
            if ours != theirs:
                return _first_difference(ours, theirs, f"{path}[{number}]")
    return f"{path} is {str(found)[:200]}, expected {str(expected)[:200]}"
