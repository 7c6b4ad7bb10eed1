"""The data check: compares new data with those that a run was trained on.

Training images are compared with training images: their labels and how they look. Images to score
are compared with them too, and what the model says of them with what it said of images that it had
not learned from. (Its confidence in images that it has learned from is no measure: it is higher.)
What a model predicts shows shifts best, of all measures of single numbers: Rabanser, Günnemann,
Lipton (2019), "Failing Loudly", arXiv:1810.11953.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from fmnist.drift.image_statistics import statistic_names
from fmnist.drift.limits import DriftLimits
from fmnist.drift.measures import SIGNIFICANCE, EffectSize, compare_counts, compare_values
from fmnist.drift.reference import ImageSample, Reference
from fmnist.tasks import Task

Part = Literal["training images", "images to score"]
TRAINING: Part = "training images"
SCORED: Part = "images to score"


@dataclass(frozen=True, kw_only=True, eq=False)
class NewData:
    """The data of a job: `labels` (classes,) counts the training images of each class.

    `images` (n, statistics) is a sample of the training images; `scored` one of the images to
    score, of which `predicted` (classes,) counts those that the model takes for each class.
    """

    labels: np.ndarray
    images: np.ndarray
    scored: ImageSample
    predicted: np.ndarray


@dataclass(frozen=True, kw_only=True)
class DataDifference:
    """One comparison: `what` in a `part` of the new data, against the data of the run.

    `size` goes from 0 to 1; `p` is Bonferroni's, multiplied by the number of comparisons. `before`
    and `now` are for people: the median, or the share of the class that has changed most.
    """

    part: Part
    what: str
    size: float
    p: float
    before: str
    now: str

    @property
    def name(self) -> str:
        """What was compared, for people."""
        return f"{self.what} of the {self.part}"


@dataclass(frozen=True, kw_only=True)
class DataCheck:
    """All comparisons with the data of a run; `unknown` says what could not be compared."""

    run: str
    differences: list[DataDifference]
    unknown: list[str]

    @property
    def largest(self) -> DataDifference | None:
        """The largest difference."""
        return max(self.differences, key=lambda each: each.size, default=None)

    def refusal(self, limits: DriftLimits) -> str | None:
        """The reason, for people, why these data are refused; None if they are not.

        Large samples make p small for any difference, so its size decides; p only keeps a small
        sample from being refused by chance.
        """
        if limits.max_drift is None:
            return None
        too_large = [
            each
            for each in self.differences
            if each.size > limits.max_drift and each.p < SIGNIFICANCE
        ]
        if too_large:
            worst = max(too_large, key=lambda each: each.size)
            others = f" (and {len(too_large) - 1} others)" if len(too_large) > 1 else ""
            return (
                f"The {worst.name}{others} differ from the champion's data by {worst.size:.2f} "
                f"({worst.before} before, {worst.now} now), more than the {limits.max_drift:g} "
                "that are allowed."
            )
        if self.unknown and limits.refuse_unknown:
            return f"Not all of the data could be checked: {' '.join(self.unknown)}"
        return None


def check_data(reference: Reference, new: NewData, task: Task) -> DataCheck:
    """Compares new data of a task with the data of a run, as far as these are known."""
    found = [
        *_compare_counts(TRAINING, "labels", reference.labels, new.labels, task.classes),
        *_compare_images(TRAINING, reference.images, new.images, task),
        *_compare_images(SCORED, reference.images, new.scored.statistics, task),
        *_compare_counts(
            SCORED, "predicted labels", reference.predicted, new.predicted, task.classes
        ),
        *_compare_values(SCORED, "confidence", reference.confidence, new.scored.confidence),
    ]
    return DataCheck(
        run=reference.run,
        differences=[replace(each, p=min(1.0, each.p * len(found))) for each in found],
        unknown=list(_unknown(reference)),
    )


def _unknown(reference: Reference) -> Iterator[str]:
    run = reference.run
    if reference.labels is None:
        yield f"The run {run} does not say how many training images each class had."
    if reference.images is None:
        yield f"The run {run} has no statistics of its images, as it is older than this check."
    elif reference.confidence is None:
        yield f"The run {run} had no labelled images that it did not learn from."


def _compare_images(
    part: Part, before: np.ndarray | None, now: np.ndarray, task: Task
) -> Iterator[DataDifference]:
    for column, name in enumerate(statistic_names(task.shape[2])):
        known = None if before is None else before[:, column]
        yield from _compare_values(part, name, known, now[:, column])


def _compare_values(
    part: Part, what: str, before: np.ndarray | None, now: np.ndarray
) -> Iterator[DataDifference]:
    if before is not None and len(before) and len(now):
        medians = [f"median {np.median(values):.3g}" for values in (before, now)]
        yield _difference(part, what, compare_values(before, now), medians)


def _compare_counts(
    part: Part, what: str, before: np.ndarray | None, now: np.ndarray, classes: tuple[str, ...]
) -> Iterator[DataDifference]:
    if before is not None and before.any() and now.any():
        shares = before / before.sum(), now / now.sum()
        most = int(np.abs(shares[0] - shares[1]).argmax())
        texts = [f"{classes[most]} {each[most]:.1%}" for each in shares]
        yield _difference(part, what, compare_counts(before, now), texts)


def _difference(part: Part, what: str, effect: EffectSize, texts: list[str]) -> DataDifference:
    before, now = texts
    return DataDifference(
        part=part, what=what, size=effect.size, p=effect.p, before=before, now=now
    )
