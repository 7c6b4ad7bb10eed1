"""The result of a retraining: whether the challenger became champion, and why."""

from dataclasses import dataclass, field
from typing import Literal

from fmnist.pages.scores import EvaluationJson
from fmnist.registry.champion import Champion
from fmnist.retraining.gate import Gate, GateDecision

SUMMARY = "summary.json"  # all facts of a published retraining

# promoted: the challenger is champion. kept: it is not good enough, or was rolled back before.
# unchanged: there was nothing to train. overtaken: another job has moved the pointer meanwhile.
# drifted: the data differ too much from the champion's, so nothing was trained or scored.
Outcome = Literal["promoted", "kept", "unchanged", "overtaken", "drifted"]


def retrainings_folder(retraining_id: str) -> str:
    """Folder in the storage root that holds a retraining's summary and page."""
    return f"retrainings/{retraining_id}"


@dataclass(frozen=True, kw_only=True)
class ChampionVersion:
    """The run that is or was champion, and the number of the move that made it so."""

    run: str
    counter: int

    @classmethod
    def of(cls, champion: Champion) -> "ChampionVersion":
        return cls(run=champion.run, counter=champion.counter)


@dataclass(frozen=True, kw_only=True)
class RetrainingResult:
    """Result for one challenger; `before` is the champion when the job began, `after` the one now.

    `decision` is None if the gate was not applied. `evaluations` are by `champion` and
    `challenger`, as far as these were evaluated on this data. With the outcome `overtaken`, both
    are about the champion that another job has promoted meanwhile, if the challenger was compared
    with it.
    """

    outcome: Outcome
    reason: str
    before: ChampionVersion | None
    after: ChampionVersion
    gate: Gate
    decision: GateDecision | None = None
    evaluations: dict[str, EvaluationJson] = field(default_factory=dict)
