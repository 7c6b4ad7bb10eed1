"""Computes the expected predictions of a model, and checks published ones against them."""

from collections import Counter
from typing import Any

import pyarrow.dataset as pads

from fmnist.data.dataset import Examples
from fmnist.models.classifier import Classifier
from fmnist.runs.published import PublishedModel
from fmnist.scoring.inputs import Inputs
from fmnist.scoring.job import predictions_id
from fmnist.scoring.predictions import predictions_folder
from fmnist.storage.manifest import Manifest
from fmnist.storage.open import Storage


def folder_of(model: PublishedModel, inputs: Inputs) -> str:
    """Returns the folder that the labels and the submission of these inputs get."""
    return predictions_folder(predictions_id(model, inputs))


def labels_of(model: Any, images: Examples) -> dict[int, int]:
    labels = Classifier(model)(images.images).argmax(axis=1)
    return dict(zip(images.ids.tolist(), labels.tolist(), strict=True))


def csv_of(labels: dict[int, int]) -> bytes:
    lines = [f"{number},{labels[number]}\n" for number in sorted(labels)]
    return "".join(["Id,Label\n", *lines]).encode()


def read(storage: Storage, manifest: Manifest) -> tuple[bytes, Any]:
    """Reads the submission, and the table of labels ordered by id."""
    prefix = predictions_folder(manifest.id)
    system, path = storage.arrow(f"{prefix}/labels")
    table = pads.dataset(path, filesystem=system, format="parquet").to_table()
    return storage.read(f"{prefix}/submission.csv"), table.sort_by("id")


def check_against(storage: Storage, manifest: Manifest, expected: dict[int, int]) -> None:
    """Checks that each id has one row with the right label and class, and no other file exists."""
    csv, table = read(storage, manifest)
    assert csv == csv_of(expected)
    assert table["id"].to_pylist() == sorted(expected)
    assert dict(zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True)) == expected
    classes = manifest.details["task"]["classes"]
    assert table["class"].to_pylist() == [classes[expected[number]] for number in sorted(expected)]
    counts = Counter(expected.values())
    assert manifest.details["class_counts"] == [counts[label] for label in range(len(classes))]
    prefix = predictions_folder(manifest.id)
    files = {f"{prefix}/{name}" for name in [*manifest.files, "manifest.json"]}
    assert set(storage.keys(prefix)) == files
