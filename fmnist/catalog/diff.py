"""Compares two runs: settings, scores, classes, and whether a difference is more than chance.

What is published is enough for two paired tests. Over seeds, as in a comparison: runs that differ
from the two only in their seed make pairs. On the images: McNemar's test counts the images that one
run has right and the other wrong. Which these are is not published, but how many each run has right
of each class is, and so is the largest number that can differ: with it, p is an upper bound.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from fmnist.catalog.runs import FoundRun
from fmnist.comparison.statistics.significance import Difference, gaps_to_best
from fmnist.errors import UserError
from fmnist.pages.scores import SCORES, EvaluationJson
from fmnist.run_settings import Training
from fmnist.runs.ids import run_folder
from fmnist.runs.published import read_evaluations
from fmnist.storage.open import Storage


@dataclass(frozen=True, kw_only=True)
class PartDiff:
    """Scores of both runs on one part of the data, and the recall of each class.

    `most_p` is an upper bound of the p-value of McNemar's test, two-sided; it is None where the two
    were not evaluated on the same images.
    """

    scores: dict[str, tuple[float | None, float | None]]
    recall: dict[str, tuple[float | None, float | None]]
    most_p: float | None


@dataclass(frozen=True, kw_only=True)
class RunDiff:
    """Settings that differ, as text or numbers, the parts that both have, and pairs by seed.

    `seeds` is the test of b's accuracy minus a's, on the part that `seeds_part` names.
    """

    settings: dict[str, tuple[Any, Any]]
    parts: dict[str, PartDiff]
    seeds: Difference
    seeds_part: str


def diff_runs(
    storage: Storage, a: FoundRun, b: FoundRun, runs: Iterable[FoundRun], *, part: str
) -> RunDiff:
    """Compares two finished runs; `runs` are all of the storage, among them those of other seeds.

    Raises UserError for a run that is not finished.
    """
    for run in (a, b):
        if run.manifest is None:
            where = f"{storage.uri}/{run_folder(run.id)}"
            raise UserError(f"{where}: is {run.state}, expected a finished run")
    of_a, of_b = (read_evaluations(storage, run_folder(run.id)) for run in (a, b))
    settings_a, settings_b = _settings(a), _settings(b)
    pairs = {name: (settings_a.get(name), settings_b.get(name)) for name in settings_a | settings_b}
    differing = {name: (x, y) for name, (x, y) in pairs.items() if x != y}
    same_images = "data" not in differing
    same_split = same_images and "validation" not in differing
    comparable = {"test": same_images, "validation": same_split, "train": same_split}
    seeds_of_a, seeds_of_b = (_by_seed(run, runs, part) for run in (a, b))
    return RunDiff(
        settings=differing,
        parts={
            name: _diff_part(of_a[name], of_b[name], paired=comparable.get(name, False))
            for name in of_a
            if name in of_b
        },
        seeds=gaps_to_best(seeds_of_b, {"a": seeds_of_a})["a"],
        seeds_part=part,
    )


def most_p_of_mcnemar(a: EvaluationJson, b: EvaluationJson) -> float:
    """Returns the largest p-value that McNemar's exact test can have, given the hits by class.

    Of the images of one class, at most as many can be right in b alone as b has right and as a has
    wrong. The more images differ, the larger is p for the same difference.
    """
    from scipy.stats import binomtest  # here, as it takes a second

    gained = lost = 0
    rows = zip(a["confusion"], b["confusion"], strict=True)
    for label, (counts_a, counts_b) in enumerate(rows):
        hits_a, hits_b, total = counts_a[label], counts_b[label], sum(counts_a)
        gained += min(hits_b, total - hits_a)
        lost += min(hits_a, total - hits_b)
    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def _diff_part(a: EvaluationJson, b: EvaluationJson, *, paired: bool) -> PartDiff:
    sizes = [[sum(row) for row in evaluation["confusion"]] for evaluation in (a, b)]
    recalls_b = {scores["name"]: scores["recall"] for scores in b["per_class"]}
    return PartDiff(
        scores={name: (a.get(name), b.get(name)) for name in SCORES},
        recall={
            scores["name"]: (scores["recall"], recalls_b.get(scores["name"]))
            for scores in a["per_class"]
        },
        most_p=most_p_of_mcnemar(a, b) if paired and sizes[0] == sizes[1] else None,
    )


def _settings(run: FoundRun) -> dict[str, Any]:
    assert run.manifest
    dataset = run.manifest.details.get("dataset")
    data = dataset.get("fingerprint") if isinstance(dataset, dict) else None
    # A setting that is newer than the run had its default.
    return {"task": run.task, "data": data, **asdict(Training()), **run.config}


def _by_seed(run: FoundRun, runs: Iterable[FoundRun], part: str) -> dict[int, float]:
    """Returns the accuracy by seed of the run and of those that differ in nothing else."""
    found = {}
    for other in runs:
        score = other.score(part)
        seed = other.config.get("seed")
        same = other.manifest is not None and _but_for_seed(other) == _but_for_seed(run)
        if same and score is not None and isinstance(seed, int):
            found[seed] = score
    return found


def _but_for_seed(run: FoundRun) -> dict[str, Any]:
    """Returns the settings that decide what is learned, and the data."""
    kept = {*Training.__dataclass_fields__, "task", "data"} - {"seed"}
    return {name: value for name, value in _settings(run).items() if name in kept}
