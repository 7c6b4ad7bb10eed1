"""The data check on the real Fashion-MNIST: real shifts are found, and a random split is not."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from fmnist.data.dataset import Dataset, Examples
from fmnist.drift.check import DataCheck, NewData, check_data
from fmnist.drift.image_statistics import image_statistics
from fmnist.drift.limits import DriftLimits, check_limits
from fmnist.drift.reference import ImageSample, Reference
from fmnist.errors import UserError
from fmnist.tasks import FASHION

IMAGES = 5_000  # in each sample
LIMITS = DriftLimits(max_drift=0.2)
BAG = FASHION.classes.index("Bag")


class NearestMean:
    """A model without TensorFlow: the class whose mean image is nearest is the most probable."""

    def __init__(self, train: Examples) -> None:
        images = train.images.reshape(len(train), -1) / 255
        self.means = np.stack([images[train.labels == label].mean(axis=0) for label in range(10)])

    def __call__(self, images: np.ndarray) -> np.ndarray:
        pixels = images.reshape(len(images), -1) / 255
        logits = (2 * pixels @ self.means.T - (self.means**2).sum(axis=1)) / 5
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        return shares / shares.sum(axis=1, keepdims=True)


def label_counts(labels: np.ndarray) -> np.ndarray:
    return np.bincount(labels, minlength=len(FASHION.classes))


def sample_of(images: np.ndarray, model: NearestMean) -> tuple[ImageSample, np.ndarray]:
    shares = model(images)
    sample = ImageSample(statistics=image_statistics(images), confidence=shares.max(axis=1))
    return sample, label_counts(shares.argmax(axis=1))


@pytest.fixture(scope="module")
def parts(fashion: Dataset) -> list[Examples]:
    """Four random parts: what the champion learned and was tested on, new data, and new images."""
    assert fashion.train is not None
    rows = np.random.default_rng(1).permutation(len(fashion.train))[: 4 * IMAGES]
    return [fashion.train.take(part) for part in np.split(rows, 4)]


@pytest.fixture(scope="module")
def model(parts: list[Examples]) -> NearestMean:
    return NearestMean(parts[0])


@pytest.fixture(scope="module")
def reference(parts: list[Examples], model: NearestMean) -> Reference:
    held_out, predicted = sample_of(parts[1].images, model)
    return Reference(
        run="champion",
        labels=label_counts(parts[0].labels),
        predicted=predicted,
        confidence=held_out.confidence,
        images=image_statistics(parts[0].images),
    )


@pytest.fixture(scope="module")
def check(parts: list[Examples], model: NearestMean, reference: Reference):
    """Returns a function that checks the new data with changed training images, or to score."""

    def run(train: Examples = parts[2], scored: Examples = parts[3]) -> DataCheck:
        sample, predicted = sample_of(scored.images, model)
        images = image_statistics(train.images)
        counts = label_counts(train.labels)
        new = NewData(labels=counts, images=images, scored=sample, predicted=predicted)
        return check_data(reference, new, FASHION)

    return run


def shifted(images: np.ndarray, pixels: int) -> np.ndarray:
    moved = np.zeros_like(images)
    moved[:, :, pixels:] = images[:, :, :-pixels]
    return moved


def brighter(images: np.ndarray, factor: float) -> np.ndarray:
    return np.clip(images * factor, 0, 255).astype(np.uint8)


SHIFTS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "inverted": (lambda images: 255 - images, "brightness"),
    "shifted by 2 pixels": (lambda images: shifted(images, 2), "horizontal centre"),
    "half as bright": (lambda images: brighter(images, 0.5), "brightness"),
    "half again as bright": (lambda images: brighter(images, 1.5), "contrast"),
}


def test_a_random_split_is_no_drift(check: Callable[..., DataCheck]) -> None:
    found = check()
    assert found.unknown == [] and len(found.differences) == 13
    assert found.largest is not None and found.largest.size < 0.06
    assert all(each.p > 0.01 for each in found.differences)
    assert found.refusal(DriftLimits(max_drift=0.0)) is None  # all of it may be chance


@pytest.mark.parametrize("name", SHIFTS)
def test_shifted_images_are_found_wherever_they_are(
    check: Callable[..., DataCheck], parts: list[Examples], name: str
) -> None:
    change, what = SHIFTS[name]
    for part, found in (
        ("training images", check(train=replace(parts[2], images=change(parts[2].images)))),
        ("images to score", check(scored=replace(parts[3], images=change(parts[3].images)))),
    ):
        sizes = {each.what: each.size for each in found.differences if each.part == part}
        others = [each.size for each in found.differences if each.part != part]
        assert sizes[what] > 0.2 and max(others) < 0.06
        refusal = found.refusal(LIMITS)
        assert refusal is not None and part in refusal and "0.2 that are allowed" in refusal


@pytest.mark.parametrize("name", ["inverted", "shifted by 2 pixels", "half as bright"])
def test_what_the_model_says_of_unlabelled_images_shows_it(
    check: Callable[..., DataCheck], parts: list[Examples], name: str
) -> None:
    images = SHIFTS[name][0](parts[3].images)
    found = check(scored=replace(parts[3], images=images, labels=None))
    said = {each.what: each for each in found.differences if each.part == "images to score"}
    assert said["predicted labels"].size > 0.2
    assert said["confidence"].p < 1e-6


def test_a_missing_class_is_named(check: Callable[..., DataCheck], parts: list[Examples]) -> None:
    found = check(train=parts[2].take(parts[2].labels != BAG))
    assert found.largest is not None and found.largest.name == "labels of the training images"
    assert found.largest.now == "Bag 0.0%" and found.largest.size == pytest.approx(0.23, abs=0.02)
    refusal = found.refusal(LIMITS)
    assert refusal is not None and "Bag 0.0% now" in refusal
    found = check(scored=parts[3].take(parts[3].labels != BAG))
    assert found.largest is not None and found.largest.what == "predicted labels"
    assert "Bag" in found.largest.before


def test_small_samples_are_not_refused_by_chance(
    check: Callable[..., DataCheck], parts: list[Examples]
) -> None:
    found = check(train=parts[2].take(np.arange(20)), scored=parts[3].take(np.arange(20)))
    assert found.largest is not None and found.largest.size > 0.2
    assert found.refusal(LIMITS) is None


def test_what_an_older_run_does_not_know_is_said_and_refused_only_on_request(
    parts: list[Examples], model: NearestMean
) -> None:
    sample, predicted = sample_of(255 - parts[3].images, model)
    counts = label_counts(parts[2].labels)
    new = NewData(labels=counts, images=sample.statistics, scored=sample, predicted=predicted)
    old = Reference(run="old", labels=None, predicted=None, confidence=None, images=None)
    found = check_data(old, new, FASHION)
    assert found.largest is None
    assert [("how many" in said, "older than" in said) for said in found.unknown] == [
        (True, False), (False, True),
    ]  # fmt: skip
    assert found.refusal(DriftLimits(max_drift=0.0)) is None
    strict = DriftLimits(max_drift=0.0, refuse_unknown=True)
    refusal = found.refusal(strict)
    assert refusal is not None and "has no statistics of its images" in refusal
    known = check_data(replace(old, labels=counts), new, FASHION)
    assert [each.name for each in known.differences] == ["labels of the training images"]


def test_impossible_limits_are_named() -> None:
    for limits, problem in (
        (DriftLimits(max_drift=1.5), "max drift is 1.5, expected 0 to 1"),
        (DriftLimits(max_drift=float("nan")), "max drift is nan"),
        (DriftLimits(refuse_unknown=True), "--refuse-unknown without --max-drift"),
    ):
        with pytest.raises(UserError, match=problem):
            check_limits(limits)
    check_limits(LIMITS)
