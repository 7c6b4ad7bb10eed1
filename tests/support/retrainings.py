"""The summary of a retraining, as `fmnist.retraining.run` makes it, with made-up numbers."""

from dataclasses import asdict
from typing import Any

import numpy as np

from fmnist.retraining.gate import Gate, judge
from fmnist.runs.evaluation import evaluate
from fmnist.tasks import FASHION

HOSTILE = "<script>attacked=1</script><b>x</b>{{ 7 * 7 }}"
FIRST = {"run": "fashion-cnn-1c0ffee1c0ff", "counter": 4}
SECOND = {"run": "fashion-cnn-2c0ffee2c0ff", "counter": 5}


def a_summary(
    outcome: str = "promoted", *, judged: bool = True, gain: float = 0.02, margin: float = 0.0
) -> dict[str, Any]:
    """`gain` is by how much the challenger is better, about; without `judged` nothing was."""
    labels, champion = guesses(0.9)
    challenger = guesses(0.9 + gain)[1]
    gate = Gate(margin=margin)
    evaluations = {
        name: evaluate(labels, each, FASHION.classes).to_json()
        for name, each in (("champion", champion), ("challenger", challenger))
    }
    decision = judge(labels, champion.argmax(axis=1), challenger.argmax(axis=1), gate)
    shown = {"promoted": ("challenger",), "unchanged": ("champion",)}.get(outcome, ())
    before = FIRST if judged or outcome != "promoted" else None
    return {
        "id": f"fashion-{outcome}-5d0c2b1a9e77",
        "outcome": outcome,
        "reason": decision.reason if judged else "There was a reason, and it is told here.",
        "task": {"name": "fashion", "classes": list(FASHION.classes), "shape": [28, 28, 1]},
        "dataset": {"source": "parquet at s3://bucket/images", "fingerprint": "c0ffee" * 10},
        "champion": {"before": before, "after": SECOND if outcome == "promoted" else FIRST},
        "challenger": SECOND["run"],
        "pointer": "s3://bucket/fmnist/registry/fashion/champion.json",
        "model": f"s3://bucket/fmnist/runs/{SECOND['run']}",
        "held_out": {"part": "test", "examples": len(labels), "note": "What they are."},
        "decision": asdict(decision) if judged else None,
        "evaluations": evaluations if judged else {name: evaluations[name] for name in shown},
        "gate": asdict(gate),
        "predictions": {
            "id": "0123456789ab",
            "images": 10_000,
            "labels": "s3://bucket/fmnist/predictions/0123456789ab/labels/",
            "submission": "s3://bucket/fmnist/predictions/0123456789ab/submission.csv",
        },
        "retention": {"keep_champions": 3, "keep_runs": 7},
        "pruned": ["fashion-cnn-0000000000aa", "fashion-cnn-0000000000bb"],
        "config": {"architecture": "cnn", "epochs": 13, "batch": 256, "seed": 0},
        "versions": {"keras": "3.15.1", "ray": "2.60.0"},
        "command": "python -m jobs.retrain --data s3://bucket/images --storage s3://bucket/fmnist",
    }


def guesses(accuracy: float) -> tuple[np.ndarray, np.ndarray]:
    """Labels of 4,000 images, and probabilities whose largest is right about that often."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 10, 4_000)
    shares = random.dirichlet(np.ones(10) / 2, len(labels))
    chosen = np.where(random.random(len(labels)) < accuracy, labels, (labels + 1) % 10)
    return labels, 0.45 * shares + 0.55 * np.eye(10)[chosen]


def a_hostile_one() -> dict[str, Any]:
    """A summary whose every text attacks."""
    return _spoilt(a_summary()) | {"outcome": "promoted"}


def _spoilt(value: Any) -> Any:
    if isinstance(value, dict):
        fixed = {"part": "test"}
        return {name: fixed.get(name) or _spoilt(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_spoilt(each) for each in value]
    return HOSTILE if isinstance(value, str) else value
