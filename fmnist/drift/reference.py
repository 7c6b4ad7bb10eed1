"""What a run keeps of its data, so that later data can be compared with it.

A run publishes statistics of a sample of its images, part by part, as `data_statistics.parquet`.
How often each class occurs, and how often the model predicts it, is in its `metrics.json` already.
So nothing is lost when the data themselves are replaced, as those of a nightly job are.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyarrow import parquet as pq

from fmnist.drift.image_statistics import statistic_names
from fmnist.pages.scores import EvaluationJson
from fmnist.runs.ids import run_folder
from fmnist.runs.published import METRICS, read_evaluations, read_published, read_run
from fmnist.storage.manifest import Manifest
from fmnist.storage.open import Storage

STATISTICS = "data_statistics.parquet"
MOST_IMAGES = 10_000  # in a sample: chance then makes a difference of about 0.02 at most
PART, CONFIDENCE = "part", "confidence"  # columns, beside those of the statistics
HELD_OUT = ("test", "validation")  # parts that the model has not learned from, the first one counts


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageSample:
    """A sample of images: `statistics` (n, statistics) and the model's `confidence` (n,), float32.

    The confidence is the probability of the predicted class.
    """

    statistics: np.ndarray
    confidence: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """The data of a run; None for what is not known, as of runs that are older than this check.

    `labels` (classes,) counts the training images of each class. `predicted` (classes,) counts the
    held-out images that the model takes for each class, and `confidence` (n,) is that in them.
    `images` (n, statistics) are statistics of training images.
    """

    run: str
    labels: np.ndarray | None
    predicted: np.ndarray | None
    confidence: np.ndarray | None
    images: np.ndarray | None


def sample_positions(count: int, most: int = MOST_IMAGES) -> np.ndarray:
    """Positions of at most so many of `count` images, ascending: the same ones each time.

    Drawn at random, since evenly spread ones could miss classes that take turns.
    """
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, most, replace=False))


def to_table(samples: dict[str, ImageSample], channels: int) -> pa.Table:
    """Makes the table of the samples of a run's parts; a row is an image."""
    tables = []
    for part, sample in samples.items():
        rows = len(sample.confidence)
        columns = {PART: pa.array([part] * rows)}
        columns |= dict(zip(statistic_names(channels), sample.statistics.T, strict=True))
        tables.append(pa.table(columns | {CONFIDENCE: sample.confidence}))
    return pa.concat_tables(tables)


def read_reference(storage: Storage, run: str, channels: int) -> Reference:
    """Reads what a published run has kept of its data; its images have so many channels.

    Raises UserError if nothing is published, and for files that are not those that were published.
    """
    manifest = read_run(storage, run_folder(run))
    known = read_evaluations(storage, run_folder(run)) if METRICS in manifest.files else {}
    table = _read_statistics(storage, run, manifest, channels)
    held_out = next((part for part in HELD_OUT if part in known), None)
    return Reference(
        run=run,
        labels=_label_counts(known["train"]) if "train" in known else None,
        predicted=_predicted_counts(known[held_out]) if held_out else None,
        confidence=_columns(table, held_out, (CONFIDENCE,))[:, 0] if table and held_out else None,
        images=_columns(table, "train", statistic_names(channels)) if table else None,
    )


def _label_counts(scores: EvaluationJson) -> np.ndarray:
    return np.array([each["support"] for each in scores["per_class"]])


def _predicted_counts(scores: EvaluationJson) -> np.ndarray:
    counts: np.ndarray = np.array(scores["confusion"]).sum(axis=0)
    return counts


def _read_statistics(
    storage: Storage, run: str, manifest: Manifest, channels: int
) -> pa.Table | None:
    if STATISTICS not in manifest.files:
        return None
    found = pa.BufferReader(read_published(storage, run_folder(run), manifest, STATISTICS))
    return pq.read_table(found, columns=[PART, *statistic_names(channels), CONFIDENCE])


def _columns(table: pa.Table, part: str, names: tuple[str, ...]) -> np.ndarray:
    """Columns (n, names) of the rows of a part."""
    rows = np.asarray(table[PART]) == part
    return np.stack([np.asarray(table[name])[rows] for name in names], axis=1)
