"""Summaries of retrainings, as `fmnist.retraining.run` makes them, with made-up numbers."""

from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np

from fmnist.drift.check import DataCheck, DataDifference
from fmnist.drift.limits import DriftLimits
from fmnist.registry.retention_settings import Retention
from fmnist.retraining.gate import Gate, apply_gate
from fmnist.retraining.result import ChampionVersion, Outcome
from fmnist.retraining.summary import (
    ChampionChange,
    HeldOutSummary,
    PredictionsSummary,
    RetrainingSummary,
)
from fmnist.runs.evaluation import evaluate
from fmnist.tasks import FASHION

HOSTILE = "<script>attacked=1</script><b>x</b>{{ 7 * 7 }}"
FIRST = ChampionVersion(run="fashion-cnn-1c0ffee1c0ff", counter=4)
SECOND = ChampionVersion(run="fashion-cnn-2c0ffee2c0ff", counter=5)
PREDICTIONS = PredictionsSummary(
    id="0123456789ab",
    images=10_000,
    labels="s3://bucket/fmnist/predictions/0123456789ab/labels/",
    submission="s3://bucket/fmnist/predictions/0123456789ab/submission.csv",
)

DATA_CHECK = DataCheck(
    run=FIRST.run,
    differences=[
        DataDifference(
            part="training images", what="brightness", size=0.01, p=1.0, before="median 73.1",
            now="median 73.3",
        ),
        DataDifference(
            part="images to score", what="predicted labels", size=0.228, p=0.0, before="Bag 10.0%",
            now="Bag 0.0%",
        ),
    ],
    unknown=[f"The run {FIRST.run} had no labelled images that it did not learn from."],
)  # fmt: skip


def a_summary(
    outcome: Outcome = "promoted", *, compared: bool = True, gain: float = 0.02, margin: float = 0.0
) -> RetrainingSummary:
    """Makes a summary; `gain` is roughly by how much the challenger is better.

    Without `compared`, the gate was not applied.
    """
    labels, champion = guesses(0.9)
    challenger = guesses(0.9 + gain)[1]
    gate = Gate(margin=margin)
    evaluations = {
        name: evaluate(labels, each, FASHION.classes).to_json()
        for name, each in (("champion", champion), ("challenger", challenger))
    }
    decision = apply_gate(labels, champion.argmax(axis=1), challenger.argmax(axis=1), gate)
    shown = {"promoted": ("challenger",), "unchanged": ("champion",)}.get(outcome, ())
    before = FIRST if compared or outcome != "promoted" else None
    return RetrainingSummary(
        outcome=outcome,
        reason=decision.reason if compared else "There was a reason, and it is told here.",
        task={"name": "fashion", "classes": list(FASHION.classes), "shape": [28, 28, 1]},
        dataset={"source": "parquet at s3://bucket/images", "fingerprint": "c0ffee" * 10},
        champion=ChampionChange(before=before, after=SECOND if outcome == "promoted" else FIRST),
        challenger=SECOND.run,
        pointer="s3://bucket/fmnist/registry/fashion/champion.json",
        model=f"s3://bucket/fmnist/runs/{SECOND.run}",
        held_out=HeldOutSummary(part="test", examples=len(labels), note="What they are."),
        decision=decision if compared else None,
        evaluations=evaluations if compared else {name: evaluations[name] for name in shown},
        gate=gate,
        data_check=DATA_CHECK if before else None,
        limits=DriftLimits(max_drift=0.2 if outcome == "drifted" else None),
        predictions=None if outcome == "drifted" else PREDICTIONS,
        retention=Retention(),
        pruned=["fashion-cnn-0000000000aa", "fashion-cnn-0000000000bb"],
        config={"architecture": "cnn", "epochs": 13, "batch": 256, "seed": 0},
        versions={"keras": "3.15.1", "ray": "2.60.0"},
        command="python -m jobs.retrain --data s3://bucket/images --storage s3://bucket/fmnist",
    )


def guesses(accuracy: float) -> tuple[np.ndarray, np.ndarray]:
    """Makes labels of 4,000 images, and probabilities that are right about that often."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 10, 4_000)
    shares = random.dirichlet(np.ones(10) / 2, len(labels))
    chosen = np.where(random.random(len(labels)) < accuracy, labels, (labels + 1) % 10)
    return labels, 0.45 * shares + 0.55 * np.eye(10)[chosen]


def a_hostile_one() -> RetrainingSummary:
    """Makes a summary in which every text is an attack, except outcome and part."""
    summary: RetrainingSummary = _with_attacks(a_summary())
    held_out = replace(summary.held_out, part="test")
    return replace(summary, outcome="promoted", held_out=held_out)


def _with_attacks(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        changed = {each.name: _with_attacks(getattr(value, each.name)) for each in fields(value)}
        return replace(value, **changed)
    if isinstance(value, dict):
        return {name: _with_attacks(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_with_attacks(each) for each in value]
    return HOSTILE if isinstance(value, str) else value
