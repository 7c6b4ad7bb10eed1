"""Prints what a job has published, and where it is."""

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import mean
from textwrap import fill
from typing import Any

from fmnist.exports.run import exports_folder
from fmnist.pages.html import PAGE
from fmnist.pages.scores import SPLITS
from fmnist.retraining.plan import Plan
from fmnist.retraining.result import retrainings_folder
from fmnist.runs.ids import run_folder
from fmnist.scoring.predictions import LABELS, SUBMISSION, predictions_folder
from fmnist.storage.manifest import Manifest, read_manifest
from fmnist.storage.open import Storage
from jobs.support.output import print_facts, print_table

INDENT = "    "  # of names of files
PARTS = ("validation", "test")  # of a comparison's cells
MOST_ROWS = 10  # in a table; the pages and files have all


def print_files(
    storage: Storage, folder: str, manifest: Manifest, *, facts: Sequence[tuple[str, str]] = ()
) -> str:
    """Prints facts, and the files of a result by their folders; returns the page or a folder."""
    print_facts(facts)
    by_folder = manifest.names_by_folder(f"{storage.uri}/{folder}")
    for place, names in by_folder.items():
        print(f"  files in {place}:")
        print(fill("  ".join(names), 80, initial_indent=INDENT, subsequent_indent=INDENT))
    if PAGE in manifest.files:
        return file_place(storage, folder, manifest, PAGE)
    return next(iter(by_folder), f"{storage.uri}/{folder}")


def file_place(storage: Storage, folder: str, manifest: Manifest, name: str) -> str:
    """Returns the path or URI of a file of a result in that folder of the storage root."""
    return f"{storage.uri}/{folder}/{manifest.files[name].path}"


def print_run(storage: Storage, manifest: Manifest) -> str:
    """Prints the scores of a published run, and where it is; returns its page."""
    print(f"run {manifest.id} is finished")
    found = manifest.details["scores"]
    print_table(
        ("images", "number", "loss", "accuracy", "95% interval"),
        [_score_row(name, found[part]) for part, name in SPLITS.items() if part in found],
    )
    return print_files(storage, run_folder(manifest.id), manifest)


def _score_row(part: str, scores: Mapping[str, Any]) -> tuple[str, ...]:
    # Earlier versions published no intervals.
    interval = "–".join(f"{bound:.2%}" for bound in scores.get("accuracy_interval", ()))
    images, loss, accuracy = (scores[name] for name in ("examples", "loss", "accuracy"))
    return part, f"{images:,}", f"{loss:.4f}", f"{accuracy:.2%}", interval


def print_cells(facts: bytes) -> None:
    """Prints the mean accuracies of the best cells of a comparison; takes its comparison.json."""
    found = json.loads(facts)
    cells = {cell["name"]: [run["scores"] for run in cell["runs"]] for cell in found["cells"]}
    # The first versions of the file had no ranking, and no short names.
    ranked = [name for name in found.get("ranking", cells) if cells[name]]
    labels = found.get("labels", {})
    left_out = f" (best {MOST_ROWS} of {len(ranked)})" if len(ranked) > MOST_ROWS else ""
    print_table(
        (f"cell{left_out}", "runs", *PARTS),
        [
            (
                labels.get(name, name),
                str(len(cells[name])),
                *(_mean_accuracy(cells[name], part) for part in PARTS),
            )
            for name in ranked[:MOST_ROWS]
        ],
    )


def _mean_accuracy(scores: list[Any], part: str) -> str:
    """Returns the mean over the runs that were evaluated on this part, or a dash."""
    found = [each[part]["accuracy"] for each in scores if part in each]
    return f"{mean(found):.2%}" if found else "–"


def print_predictions(storage: Storage, manifest: Manifest, *, opened: bool = True) -> str:
    """Prints where published predictions are; returns the submission.

    If that is not what the user opens, its place is printed too.
    """
    where = f"{storage.uri}/{predictions_folder(manifest.id)}"
    details = manifest.details
    print(f"predictions {manifest.id} for {details['images']:,} images are finished")
    counts = dict(zip(details["task"]["classes"], details["class_counts"], strict=True))
    print_table(("class", "images", "share"), _class_rows(counts, details["images"]))
    submission = f"{where}/{SUBMISSION}"
    facts = [("model", details["run"]), ("labels", f"{where}/{LABELS}/")]
    print_facts(facts if opened else [*facts, ("submission", submission)])
    return submission


def _class_rows(counts: Mapping[str, int], images: int) -> list[tuple[str, str, str]]:
    """Returns a row for each class; of many, for the ones that most images have, and the rest."""
    if len(counts) > MOST_ROWS:
        most = dict(Counter(counts).most_common(MOST_ROWS))
        rest = f"{len(counts) - MOST_ROWS} others"
        counts = most | {rest: images - sum(most.values())}
    return [(name, f"{count:,}", f"{count / images:.1%}") for name, count in counts.items()]


def print_export(storage: Storage, manifest: Manifest) -> str:
    """Prints how a published export was checked, and where it is; returns its folder."""
    check = manifest.details["check"]
    facts = (
        ("images", f"{check['images']:,}, all with the labels that Keras gives"),
        ("difference", f"at most {check['largest_difference']:.1e} of a probability"),
    )
    print(f"export {manifest.id} is finished")
    return print_files(storage, exports_folder(manifest.id), manifest, facts=facts)


def print_plan(storage: Storage, plan: Plan) -> None:
    """Prints what a retraining would do."""
    champion = plan.champion
    print(f"data        {plan.dataset.source}")
    print(f"fingerprint {plan.dataset.fingerprint}")
    print(f"champion    {f'{champion.run} (move {champion.counter})' if champion else 'none'}")
    if pending := plan.pending:
        promoted = f"the promotion of {pending.run} (move {pending.counter})"
        print(f"to finish   {promoted}, without a summary")
        return
    if plan.no_training:
        reason = f"nothing to train: {plan.no_training.reason}"
        print(fill(f"{reason} It would score what is not scored yet", 80))
        return
    published = read_manifest(storage, run_folder(plan.challenger))
    print(f"challenger  {plan.challenger}, {'published already' if published else 'to be trained'}")
    print(f"to judge on {len(plan.held_out.examples)} {plan.held_out.part} images")


def print_retraining(storage: Storage, manifest: Manifest) -> str:
    """Prints the outcome of a published retraining, and where the results are; returns its page."""
    details = manifest.details
    refused = details["outcome"] == "drifted"  # a warning, which a quiet job prints too
    print(f"{details['outcome']}: {details['reason']}", file=sys.stderr if refused else sys.stdout)
    print(f"retraining {manifest.id} is finished")
    now, predictions = details["champion"]["after"], details["predictions"]
    facts = [("champion", f"{now['run']} (move {now['counter']})")]
    if predictions:
        scored = f"{predictions['images']:,} images"
        facts += [("scored", scored), ("labels", predictions["submission"])]
    return print_files(storage, retrainings_folder(manifest.id), manifest, facts=facts)
