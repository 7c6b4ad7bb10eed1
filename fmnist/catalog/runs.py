"""The runs in a storage root, which of them train now, and which are champions.

Only the names of the folders are listed, and of each run one manifest is read or one lease looked
at, so that neither checkpoints nor scored files cost anything, however many there are.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, TypeVar

from fmnist.errors import StorageError, UserError
from fmnist.registry.champion import read_champion
from fmnist.runs.ids import parse_run_id, run_folder
from fmnist.storage.lease import LEASE, is_held
from fmnist.storage.manifest import Manifest, read_manifest
from fmnist.storage.open import Storage

State = Literal["finished", "training", "unfinished", "damaged"]

THREADS = 10  # as many connections as boto keeps open

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class FoundRun:
    """A run in the storage; a damaged one has a `problem`, and only a finished one a manifest."""

    id: str
    state: State
    champion: bool
    problem: str | None = None
    manifest: Manifest | None = None

    @property
    def task(self) -> str:
        """Name of the task, from the id, which a damaged run has too."""
        return parse_run_id(self.id)[0]

    @property
    def architecture(self) -> str:
        """Name of the network, from the id."""
        return parse_run_id(self.id)[1]

    @property
    def config(self) -> dict[str, Any]:
        """The settings as the manifest has them; empty without one."""
        return _object(self.manifest and self.manifest.details.get("config"))

    @property
    def finished_at(self) -> str | None:
        """When the run was published: ISO 8601 in UTC; older versions did not tell it."""
        value = self.manifest and self.manifest.details.get("finished_at")
        return value if isinstance(value, str) else None

    def score(self, part: str, metric: str = "accuracy") -> float | None:
        """Returns a score on a part of the data, or None where it is not known."""
        scores = _object(self.manifest and self.manifest.details.get("scores"))
        value = _object(scores.get(part)).get(metric)
        return float(value) if isinstance(value, int | float) else None

    def to_json(self) -> dict[str, Any]:
        """Returns what a program may want to know of the run."""
        return {
            "id": self.id,
            "state": self.state,
            "champion": self.champion,
            "task": self.task,
            "architecture": self.architecture,
            "problem": self.problem,
            "details": self.manifest.details if self.manifest else {},
        }


def list_runs(storage: Storage) -> list[FoundRun]:
    """Returns all runs, sorted by their ids."""
    champions = find_champions(storage)
    return in_threads(lambda run: _find(storage, run, champions), storage.folders("runs"))


def find_run(storage: Storage, run: str) -> FoundRun:
    """Returns one run; UserError that names the nearest ones if there is no such run."""
    if "/" not in run and storage.keys(run_folder(run)):
        return _find(storage, run, find_champions(storage))
    close = ", ".join(get_close_matches(run, storage.folders("runs"), n=3)) or "none"
    raise UserError(f"{storage.uri}: found no run {run!r}; runs with a similar id: {close}")


def best_run(runs: Iterable[FoundRun], part: str) -> FoundRun:
    """Returns the run with the highest accuracy; UserError if none has one on this part."""
    scored = [run for run in runs if run.score(part) is not None]
    if not scored:
        raise UserError(f"found no finished run with a score on the {part} images")
    return max(scored, key=lambda run: (run.score(part), run.id))


def find_champions(storage: Storage) -> frozenset[str]:
    """Returns the runs that are champion of some task."""
    found = (read_champion(storage, task) for task in storage.folders("registry"))
    return frozenset(champion.run for champion in found if champion)


def manifest_or_problem(storage: Storage, folder: str) -> Manifest | str | None:
    """Returns the manifest of a result, what is wrong with it, or None where there is none."""
    try:
        return read_manifest(storage, folder)
    except StorageError:
        raise
    except UserError as error:
        return str(error)


def in_threads(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Does the work for each item, several at once, since most of the time is waiting."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, items))


def _find(storage: Storage, run: str, champions: frozenset[str]) -> FoundRun:
    champion, found = run in champions, manifest_or_problem(storage, run_folder(run))
    if found is None:
        held = is_held(storage, f"{run_folder(run)}/{LEASE}")
        return FoundRun(id=run, state="training" if held else "unfinished", champion=champion)
    if isinstance(found, Manifest) and (found.kind, found.id) != ("run", run):
        found = f"its manifest is that of {found.kind} {found.id}"
    if isinstance(found, str):
        return FoundRun(id=run, state="damaged", champion=champion, problem=found)
    return FoundRun(id=run, state="finished", champion=champion, manifest=found)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
