import dataclasses

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from fmnist.data.dataset import Dataset, check_ids, check_labels, split
from fmnist.errors import UserError
from tests.support.samples import SHAPES, dataset, examples


def test_the_split_is_scikit_learns(fashion: Dataset) -> None:
    assert fashion.train is not None and fashion.train.labels is not None
    train, validation = split(fashion.train, 0.1)
    assert validation is not None and train.labels is not None and validation.labels is not None
    expected = train_test_split(
        fashion.train.images, fashion.train.labels, test_size=0.1, random_state=42
    )
    found = (train.images, validation.images, train.labels, validation.labels)
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))
    assert (len(train), len(validation)) == (54_000, 6_000)
    assert not np.intersect1d(train.ids, validation.ids).size


def test_without_validation_all_stay_in_their_order() -> None:
    part = examples(SHAPES, 10)
    assert split(part, 0) == (part, None)


@pytest.mark.parametrize("validation", [-0.1, 1, 1.5, float("nan")])
def test_a_validation_that_is_no_fraction_is_refused(validation: float) -> None:
    with pytest.raises(UserError, match="expected a fraction from 0 to below 1"):
        split(examples(SHAPES, 10), validation)


def test_too_few_examples_to_split_are_refused() -> None:
    with pytest.raises(UserError, match="1 training examples are too few"):
        split(examples(SHAPES, 1), 0.1)


def test_take_keeps_rows_together() -> None:
    part = examples(SHAPES, 10)
    taken = part.take(np.array([7, 2]))
    assert taken.labels is not None and part.labels is not None
    assert taken.ids.tolist() == [part.ids[7], part.ids[2]]
    assert taken.labels.tolist() == [part.labels[7], part.labels[2]]
    assert np.array_equal(taken.images[1], part.images[2])
    assert dataclasses.replace(part, labels=None).take(np.array([1])).labels is None


def test_the_fingerprint_ignores_the_source_and_the_memory_layout() -> None:
    one, other = dataset(), dataset()
    assert other.train is not None
    strided = dataclasses.replace(
        other.train,
        images=np.asfortranarray(other.train.images),
        ids=np.repeat(other.train.ids, 2)[::2],
    )
    other = dataclasses.replace(other, source="elsewhere", train=strided)
    assert one.fingerprint == other.fingerprint
    assert len(one.fingerprint) == 64


def test_the_fingerprint_of_fashion_mnist_is_known(fashion: Dataset) -> None:
    expected = "f9c9084cef39a89996a92eedad3a92fb295f20d8b5dfa52b4fb4ba8ea004f356"
    assert fashion.fingerprint == expected


def test_the_fingerprint_follows_every_part_of_the_content() -> None:
    base = dataset()
    assert base.train is not None and base.train.labels is not None
    images = base.train.images.copy()
    images[3, 2, 1, 0] ^= 1
    labels = base.train.labels.copy()
    labels[5] = (labels[5] + 1) % 4
    changed = [
        dataclasses.replace(base, task=dataclasses.replace(base.task, name="other")),
        dataclasses.replace(
            base, task=dataclasses.replace(base.task, classes=("a", "b", "c", "d"))
        ),
        dataclasses.replace(base, train=dataclasses.replace(base.train, images=images)),
        dataclasses.replace(base, train=dataclasses.replace(base.train, labels=labels)),
        dataclasses.replace(base, train=dataclasses.replace(base.train, labels=None)),
        dataclasses.replace(base, train=dataclasses.replace(base.train, ids=base.train.ids + 1)),
        dataclasses.replace(base, train=base.train.take(np.arange(40)[::-1])),
        dataclasses.replace(base, train=None),
        dataclasses.replace(base, train=base.test, test=base.train),
    ]
    assert len({data.fingerprint for data in [base, *changed]}) == 1 + len(changed)


def test_repeated_ids_and_labels_out_of_range_are_named() -> None:
    with pytest.raises(UserError, match=r"here: id 7 is there 3 times \(2 such ids\)"):
        check_ids(np.array([9, 7, 1, 7, 9, 7]), "here")
    with pytest.raises(UserError, match="here: label -1 in row 12, expected 0 to 3"):
        check_labels(np.array([0, 3, -1]), 4, "here", 10)
