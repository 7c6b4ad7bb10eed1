"""Prints what a job has published, and where it is."""

from fmnist.retraining.plan import Plan
from fmnist.retraining.run import retrainings_folder
from fmnist.runs.ids import run_folder
from fmnist.scoring.job import predictions_folder
from fmnist.scoring.predictions import LABELS, SUBMISSION
from fmnist.storage.manifest import Manifest, read_manifest
from fmnist.storage.open import Storage


def print_files(storage: Storage, folder: str, manifest: Manifest) -> None:
    """Prints where the files of a result in that folder of the storage root are."""
    for name in manifest.files:
        print(f"  {name:<16} {file_place(storage, folder, manifest, name)}")


def file_place(storage: Storage, folder: str, manifest: Manifest, name: str) -> str:
    """Returns the path or URI of a file of a result in that folder of the storage root."""
    return f"{storage.uri}/{folder}/{manifest.files[name].path}"


def print_run(storage: Storage, manifest: Manifest) -> None:
    """Prints the scores of a published run, and where it is."""
    for part, scores in manifest.details["scores"].items():
        print(f"{part:>10}: accuracy {scores['accuracy']:.4f}  loss {scores['loss']:.4f}")
    print(f"run {manifest.id} is finished")
    print_files(storage, run_folder(manifest.id), manifest)


def print_predictions(storage: Storage, manifest: Manifest) -> None:
    """Prints where published predictions are."""
    where = f"{storage.uri}/{predictions_folder(manifest.id)}"
    print(f"predictions {manifest.id} for {manifest.details['images']} images are finished")
    print(f"  labels           {where}/{LABELS}/")
    print(f"  submission       {where}/{SUBMISSION}")


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
    print(f"{details['outcome']}: {details['reason']}")
    now = details["champion"]["after"]
    print(f"champion {now['run']} (move {now['counter']})")
    if predictions := details["predictions"]:
        print(f"predictions {predictions['id']}: {predictions['submission']}")
    print(f"retraining {manifest.id} is finished")
    print_files(storage, retrainings_folder(manifest.id), manifest)
