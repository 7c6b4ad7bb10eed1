"""Prints what a job has published, and where it is."""

import sys

from fmnist.pages.scores import SPLITS
from fmnist.retraining.plan import Plan
from fmnist.retraining.run import retrainings_folder
from fmnist.runs.ids import run_folder
from fmnist.scoring.job import predictions_folder
from fmnist.scoring.predictions import LABELS, SUBMISSION
from fmnist.storage.manifest import Manifest, read_manifest
from fmnist.storage.open import Storage
from jobs.support.output import print_facts, print_path, print_table

PAGE = "report.html"
SHOWN = ("accuracy", "loss")


def print_files(storage: Storage, folder: str, manifest: Manifest, page: str = PAGE) -> None:
    """Prints where the files of a result in that folder of the storage root are, the page last."""
    places = {name: file_place(storage, folder, manifest, name) for name in manifest.files}
    opened = places.pop(page, f"{storage.uri}/{folder}")
    print_facts(list(places.items()))
    print_path(opened)


def file_place(storage: Storage, folder: str, manifest: Manifest, name: str) -> str:
    """Returns the path or URI of a file of a result in that folder of the storage root."""
    return f"{storage.uri}/{folder}/{manifest.files[name].path}"


def print_run(storage: Storage, manifest: Manifest) -> None:
    """Prints the scores of a published run, and where it is."""
    print(f"run {manifest.id} is finished")
    found = manifest.details["scores"]
    print_table(
        ("images", "number", "accuracy", "loss"),
        [
            (name, f"{found[part]['examples']:,}", *(f"{found[part][each]:.4f}" for each in SHOWN))
            for part, name in SPLITS.items()
            if part in found
        ],
    )
    print_files(storage, run_folder(manifest.id), manifest)


def print_predictions(storage: Storage, manifest: Manifest) -> None:
    """Prints where published predictions are."""
    where = f"{storage.uri}/{predictions_folder(manifest.id)}"
    print(f"predictions {manifest.id} for {manifest.details['images']:,} images are finished")
    print_facts([("model", manifest.details["run"]), ("labels", f"{where}/{LABELS}/")])
    print_path(f"{where}/{SUBMISSION}")


def print_plan(storage: Storage, plan: Plan) -> None:
    """Prints what a retraining would do."""
    champion = plan.champion
    print(f"data        {plan.dataset.source}, fingerprint {plan.dataset.fingerprint}")
    print(f"champion    {f'{champion.run} (move {champion.counter})' if champion else 'none'}")
    if pending := plan.pending:
        promoted = f"the promotion of {pending.run} (move {pending.counter})"
        print(f"to finish   {promoted}, without a summary")
        return
    if plan.no_training:
        print(f"nothing to train: {plan.no_training.reason} It would score what is not scored yet")
        return
    published = read_manifest(storage, run_folder(plan.challenger))
    print(f"challenger  {plan.challenger}, {'published already' if published else 'to be trained'}")
    print(f"to judge on {len(plan.held_out.examples)} {plan.held_out.part} images")


def print_retraining(storage: Storage, manifest: Manifest) -> None:
    """Prints the outcome of a published retraining, the champion, and where the results are."""
    details = manifest.details
    refused = details["outcome"] == "drifted"  # a warning, which a quiet job prints too
    print(f"{details['outcome']}: {details['reason']}", file=sys.stderr if refused else sys.stdout)
    print(f"retraining {manifest.id} is finished")
    now, predictions = details["champion"]["after"], details["predictions"]
    facts = [("champion", f"{now['run']} (move {now['counter']})")]
    if predictions:
        facts += [("images", f"{predictions['images']:,}"), ("labels", predictions["submission"])]
    print_facts(facts)
    print_files(storage, retrainings_folder(manifest.id), manifest)
