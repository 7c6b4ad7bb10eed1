"""What differs between two runs, and the paired tests, by numbers worked out apart."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest, ttest_rel

from fmnist.catalog.diff import RunDiff, diff_runs, most_p_of_mcnemar
from fmnist.catalog.runs import find_run, list_runs
from fmnist.catalog.text import diff_text
from fmnist.errors import UserError
from fmnist.run_settings import Training
from fmnist.runs.evaluation import evaluate
from fmnist.storage.open import Storage, open_storage
from tests.support.scored_runs import publish_scored

CNN, TANH = Training(), Training(activation="tanh", learning_rate=1e-3)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(str(tmp_path / "results"))


def diff(storage: Storage, a: str, b: str) -> RunDiff:
    runs = list_runs(storage)
    return diff_runs(storage, find_run(storage, a), find_run(storage, b), runs, part="validation")


def test_run_settings_scores_and_classes(storage: Storage) -> None:
    a = publish_scored(storage, CNN, accuracy=0.5)
    b = publish_scored(storage, TANH, accuracy=0.75)
    found = diff(storage, a, b)
    assert found.settings == {"activation": ("relu", "tanh"), "learning_rate": (1e-4, 1e-3)}
    test = found.parts["test"]
    assert test.scores["accuracy"] == (0.5, 0.75)
    assert test.recall["square"] == (0.5, 0.75)
    # Of each of 4 classes, b can have all 75 of its own right where a is wrong in 50 at most.
    gained, lost = 4 * 50, 4 * 25
    assert test.most_p == binomtest(gained, gained + lost).pvalue
    assert found.seeds.n == 1 and found.seeds.p is None
    text = diff_text(find_run(storage, a), find_run(storage, b), found)
    assert "+25.00 points" in text and "no test, since fewer than two seeds" in text
    assert max(map(len, text.splitlines())) <= 80


def test_seeds_make_pairs(storage: Storage) -> None:
    relu, tanh = (0.5, 0.55, 0.6), (0.7, 0.6, 0.8)
    for base, scores in ((CNN, relu), (TANH, tanh)):
        for seed, score in enumerate(scores):
            publish_scored(storage, replace(base, seed=seed), accuracy=score)
    publish_scored(storage, CNN, accuracy=0.1, fingerprint="other data")
    publish_scored(storage, replace(CNN, seed=7, batch=7), accuracy=0.1)
    ids = {
        (run.config["activation"], run.config["seed"], run.config["batch"]): run.id
        for run in list_runs(storage)
        if run.score("test") != 0.1
    }
    found = diff(storage, ids["relu", 0, 1024], ids["tanh", 2, 1024])
    assert found.seeds.n == 3
    assert found.seeds.mean == pytest.approx(np.mean(np.subtract(tanh, relu)))
    assert found.seeds.p == pytest.approx(ttest_rel(tanh, relu).pvalue)


def test_other_data_are_not_paired(storage: Storage) -> None:
    a = publish_scored(storage, CNN, accuracy=0.5)
    b = publish_scored(storage, CNN, accuracy=0.5, fingerprint="other data")
    found = diff(storage, a, b)
    assert found.parts["test"].most_p is None and list(found.settings) == ["data"]
    held_out = publish_scored(storage, replace(CNN, validation=0.5), accuracy=0.5)
    found = diff(storage, a, held_out)
    assert found.parts["validation"].most_p is None
    assert found.parts["test"].most_p == 1.0


def test_an_unfinished_run_is_told(storage: Storage) -> None:
    a = publish_scored(storage, CNN, accuracy=0.5)
    storage.write("runs/shapes-cnn-0/begun.json", b"{}")
    with pytest.raises(UserError, match="shapes-cnn-0: is unfinished, expected a finished run"):
        diff(storage, a, "shapes-cnn-0")


def test_the_bound_is_never_below_the_real_p() -> None:
    random = np.random.default_rng(0)
    classes = ("a", "b", "c")
    for share in (0.6, 0.8, 0.95):
        labels = random.integers(0, 3, 300)
        guesses = [
            np.where(random.random(300) < right, labels, random.integers(0, 3, 300))
            for right in (0.7, share)
        ]
        a, b = (evaluate(labels, np.eye(3)[each], classes).to_json() for each in guesses)
        right_a, right_b = (each == labels for each in guesses)
        gained, lost = int((right_b & ~right_a).sum()), int((right_a & ~right_b).sum())
        assert most_p_of_mcnemar(a, b) >= binomtest(gained, gained + lost).pvalue
