"""Scores and intervals agree with hand counts, scikit-learn and resampled examples."""

import json
import math

import numpy as np
import pytest
from sklearn.metrics import f1_score, log_loss, roc_auc_score

from fmnist.runs import intervals
from fmnist.runs.evaluation import Evaluation, evaluate, to_table

LABELS = np.array([0, 0, 1, 1, 2])
PROBABILITIES = np.array(
    [[0.6, 0.3, 0.1], [0.3, 0.6, 0.1], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1], [0.5, 0.1, 0.4]]
)
CLASSES = ("ankle", "bag", "coat")


def guesses(n: int, k: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Makes random labels, and float32 softmax probabilities that are mostly right."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, k, n)
    logits = random.normal(size=(n, k))
    logits[np.arange(n), labels] += 1.5
    odds = np.exp(logits)
    return labels, (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)


def names(k: int) -> tuple[str, ...]:
    return tuple(f"class {c}" for c in range(k))


def all_intervals(evaluation: Evaluation) -> list[tuple[float | None, tuple[float, float]]]:
    """Returns every interval, overall and by class, with its value."""
    return [
        (getattr(scores, name), interval)
        for scores in (evaluation, *evaluation.per_class)
        for name, interval in scores.intervals.items()
    ]


def test_scores_counted_by_hand() -> None:
    result = evaluate(LABELS, PROBABILITIES, CLASSES)
    assert result.examples == 5
    assert result.confusion == ((1, 1, 0), (0, 2, 0), (1, 0, 0))
    assert result.accuracy == 3 / 5
    assert [scores.name for scores in result.per_class] == list(CLASSES)
    assert [scores.support for scores in result.per_class] == [2, 2, 1]
    assert [scores.precision for scores in result.per_class] == pytest.approx([1 / 2, 2 / 3, 0])
    assert [scores.recall for scores in result.per_class] == pytest.approx([1 / 2, 1, 0])
    assert [scores.f1 for scores in result.per_class] == pytest.approx([1 / 2, 4 / 5, 0])
    assert [scores.roc_auc for scores in result.per_class] == pytest.approx([5 / 6, 1, 1])
    assert result.precision == pytest.approx(7 / 18)
    assert result.recall == pytest.approx(1 / 2)
    assert result.f1 == pytest.approx(13 / 30)
    assert result.roc_auc == pytest.approx(17 / 18)
    assert result.loss == pytest.approx(-math.log(0.6 * 0.3 * 0.7 * 0.8 * 0.4) / 5)


def test_overall_scores_are_those_of_scikit_learn() -> None:
    labels, probabilities = guesses(3000, 5)
    result = evaluate(labels, probabilities, names(5))
    exact = probabilities / probabilities.sum(axis=1, keepdims=True, dtype=np.float64)
    assert result.loss == pytest.approx(log_loss(labels, exact), rel=1e-6)
    assert result.f1 == pytest.approx(f1_score(labels, exact.argmax(axis=1), average="macro"))
    assert result.roc_auc == pytest.approx(roc_auc_score(labels, exact, multi_class="ovr"))


def test_an_impossible_truth_has_a_large_finite_loss() -> None:
    result = evaluate(np.array([1, 0]), np.array([[1.0, 0.0], [1.0, 0.0]]), names(2))
    assert 40 < result.loss < 50  # -ln(1.2e-38) / 2; 1.2e-38 is the smallest normal float32


def test_a_class_without_examples_has_no_scores_and_is_in_no_mean() -> None:
    labels = np.array([0, 0, 2, 2])
    result = evaluate(labels, PROBABILITIES[[0, 1, 4, 4]], CLASSES)
    absent = result.per_class[1]
    assert absent.support == 0
    assert absent.precision is absent.recall is absent.f1 is absent.roc_auc is None
    assert absent.intervals == {}
    assert result.confusion[0] == (1, 1, 0)  # it was predicted once
    assert result.recall == pytest.approx((1 / 2 + 0) / 2)


def test_labels_of_one_class_have_no_auc() -> None:
    result = evaluate(np.zeros(3, int), PROBABILITIES[:3], CLASSES)
    assert result.roc_auc is None and result.per_class[0].roc_auc is None
    assert "roc_auc" not in result.intervals
    assert (result.precision, result.recall) == (1, 1 / 3)


def test_a_single_example_has_no_interval_of_its_loss() -> None:
    result = evaluate(LABELS[:1], PROBABILITIES[:1], CLASSES)
    assert "loss" not in result.intervals
    low, high = result.intervals["accuracy"]
    assert low < 0.25 and high == 1


def test_an_auc_from_one_example_of_a_class_has_no_interval() -> None:
    result = evaluate(LABELS, PROBABILITIES, CLASSES)
    assert ["roc_auc" in scores.intervals for scores in result.per_class] == [True, True, False]
    assert "roc_auc" not in result.intervals


def test_json_is_strict_and_complete() -> None:
    for labels in (LABELS, LABELS * 0):
        written = evaluate(labels, PROBABILITIES, CLASSES).to_json()
        assert json.loads(json.dumps(written, allow_nan=False)) == written
        assert (
            written["confusion"][0][1] == evaluate(labels, PROBABILITIES, CLASSES).confusion[0][1]
        )
        assert set(written["per_class"][0]) >= {"name", "support", "roc_auc", "intervals"}


def test_the_same_predictions_give_the_same_intervals() -> None:
    labels, probabilities = guesses(500, 4)
    first = evaluate(labels, probabilities, names(4))
    assert first == evaluate(labels, probabilities, names(4))


def test_every_interval_holds_its_score_and_lies_in_range() -> None:
    labels, probabilities = guesses(2000, 6)
    pairs = all_intervals(evaluate(labels, probabilities, names(6)))
    assert len(pairs) == 6 + 6 * 4
    for value, (low, high) in pairs:
        assert value is not None and 0 <= low < value < high


def test_more_examples_narrow_the_intervals() -> None:
    few, many = (evaluate(*guesses(n, 3), names(3)).intervals for n in (500, 50_000))
    for name, (low, high) in few.items():
        assert many[name][1] - many[name][0] < (high - low) / 5, name  # 10 times, in theory


def test_wilson_interval() -> None:
    assert intervals.wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert intervals.wilson(0, 10) == pytest.approx((0, 0.2775), abs=1e-4)
    assert intervals.wilson(10, 10)[1] == 1
    assert intervals.wilson(0, 0) == (0, 1)


@pytest.mark.parametrize("trials", [1, 2, 7, 100, 60_000])
def test_wilson_interval_is_its_formula(trials: int) -> None:
    z = 1.959963984540054
    for hits in {0, 1, trials // 2, trials - 1, trials}:
        share = hits / trials
        spread = z * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
        centre, scale = share + z**2 / (2 * trials), 1 + z**2 / trials
        expected = max(0, (centre - spread) / scale), min(1, (centre + spread) / scale)
        assert intervals.wilson(hits, trials) == pytest.approx(expected, rel=0, abs=1e-12)


def test_interval_of_the_loss_is_196_standard_errors() -> None:
    losses = np.array([1.0, 2.0, 3.0, 4.0])
    error = math.sqrt(5 / 3 / 4)
    assert intervals.mean_interval(losses) == pytest.approx(
        (2.5 - 1.96 * error, 2.5 + 1.96 * error), abs=1e-4
    )


def test_variance_of_an_auc_by_hand() -> None:
    positive = np.array([True, True, False, False, False])
    scores = np.array([0.9, 0.4, 0.5, 0.1, 0.2])
    # DeLong: placements 1 and 2/3 (variance 1/18), and 1/2, 1, 1 (variance 1/12).
    components = intervals.auc_components(positive, scores)
    assert (components**2).sum() == pytest.approx(1 / 18 / 2 + 1 / 12 / 3)


def test_ties_count_half_in_the_variance_of_an_auc() -> None:
    positive = np.array([True, True, False, False])
    components = intervals.auc_components(positive, np.array([0.5, 0.7, 0.5, 0.3]))
    # Placements 3/4 and 1 on either side: variance 1/32 twice, over 2 examples each.
    assert (components**2).sum() == pytest.approx(1 / 32)


def test_intervals_are_as_wide_as_resampling_the_examples_says() -> None:
    labels, probabilities = guesses(600, 3)
    found = evaluate(labels, probabilities, names(3)).intervals
    random = np.random.default_rng(1)
    f1, auc = [], []
    for _ in range(400):
        rows = random.integers(0, len(labels), len(labels))
        drawn = probabilities[rows].astype(np.float64)
        f1.append(f1_score(labels[rows], drawn.argmax(axis=1), average="macro"))
        auc.append(np.mean([roc_auc_score(labels[rows] == c, drawn[:, c]) for c in range(3)]))
    for name, values in (("f1", f1), ("roc_auc", auc)):
        width = found[name][1] - found[name][0]
        assert width == pytest.approx(2 * 1.96 * np.std(values), rel=0.15), name


def test_a_part_of_the_real_size() -> None:
    labels, probabilities = guesses(60_000, 10)
    result = evaluate(labels, probabilities, names(10))
    assert sum(map(sum, result.confusion)) == 60_000


@pytest.mark.parametrize(
    ("labels", "probabilities"),
    [
        (LABELS, np.where(PROBABILITIES == 0.8, np.nan, PROBABILITIES)),
        (LABELS, np.where(PROBABILITIES == 0.8, np.inf, PROBABILITIES)),
        (LABELS, PROBABILITIES * 2),
        (LABELS, PROBABILITIES - [[1, -1, 0]]),
        (LABELS + 1, PROBABILITIES),
        (LABELS - 1, PROBABILITIES),
        (LABELS[:4], PROBABILITIES),
        (LABELS[:0], PROBABILITIES[:0]),
    ],
)
def test_impossible_input_is_a_bug(labels: np.ndarray, probabilities: np.ndarray) -> None:
    with pytest.raises(AssertionError):
        evaluate(labels, probabilities, CLASSES)


def test_table_has_a_row_for_each_score() -> None:
    result = evaluate(LABELS, PROBABILITIES, CLASSES)
    table = to_table({"validation": result, "test": result})
    rows = [row for row in table.to_pylist() if row["split"] == "test"]
    assert table.num_rows == 2 * len(rows) == 2 * (7 + 3 * 5)
    scores = {(row["metric"], row["class"]): row for row in rows}
    assert scores["accuracy", None]["value"] == 3 / 5
    assert (scores["accuracy", None]["low"], scores["accuracy", None]["high"]) == result.intervals[
        "accuracy"
    ]
    assert scores["recall", "bag"]["value"] == 1
    coat = scores["support", "coat"]
    assert (coat["value"], coat["low"], coat["high"]) == (1, None, None)
