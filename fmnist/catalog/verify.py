"""Verifies all results in a storage root: each file has the digest that its manifest says."""

from dataclasses import dataclass

from fmnist.catalog.runs import in_threads, manifest_or_problem
from fmnist.registry.prune import RESULT_FOLDERS
from fmnist.storage.manifest import FileEntry, Manifest
from fmnist.storage.open import Storage


@dataclass(frozen=True, kw_only=True)
class Verification:
    """Numbers of the results, files and bytes that are whole, and a line for each damaged file."""

    results: int
    files: int
    size: int
    damaged: list[str]


def verify(storage: Storage) -> Verification:
    """Reads every published file; what was not finished is no result and does not count."""
    places = [f"{folder}/{name}" for folder in RESULT_FOLDERS for name in storage.folders(folder)]
    manifests = in_threads(lambda place: manifest_or_problem(storage, place), places)
    damaged = [found for found in manifests if isinstance(found, str)]
    results = {
        place: found
        for place, found in zip(places, manifests, strict=True)
        if isinstance(found, Manifest)
    }
    files = [
        (f"{place}/{entry.path}", entry)
        for place, manifest in results.items()
        for entry in manifest.files.values()
    ]
    problems = in_threads(lambda file: _problem(storage, *file), files)
    broken = {file[0] for file, problem in zip(files, problems, strict=True) if problem}
    whole = [place for place in results if not any(key.startswith(f"{place}/") for key in broken)]
    return Verification(
        results=len(whole),
        files=len(files) - len(broken),
        size=sum(entry.size for key, entry in files if key not in broken),
        damaged=damaged + [problem for problem in problems if problem],
    )


def _problem(storage: Storage, key: str, entry: FileEntry) -> str | None:
    expected = f"expected {entry.size} bytes with SHA-256 {entry.sha256}"
    try:
        found = storage.digest(key)
    except FileNotFoundError:
        return f"{storage.uri}/{key}: found nothing, {expected}"
    if (found.size, found.sha256) == (entry.size, entry.sha256):
        return None
    return f"{storage.uri}/{key}: found {found.size} bytes with SHA-256 {found.sha256}, {expected}"
