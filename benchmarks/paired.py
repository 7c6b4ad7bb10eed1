"""Measures ways of doing the same in turn, and shows each beside its baseline.

The speed of shared machines varies by a factor of two between days, and by a tenth within minutes.
So what is compared is measured in one run, A B A B, and the ratios of the rounds count.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

COLUMNS = ("measured", "it", "baseline", "unit", "ratio", "spread", "target", "of peak")


@dataclass(frozen=True, kw_only=True)
class Paired:
    """What was measured once a round, and its baseline: a row of the table.

    `target` is what the ratio should be. `of_peak` is the part of the machine's matrix peak that it
    reached, where that says something.
    """

    name: str
    unit: str  # s, or images/s
    ours: Sequence[float]
    baseline: Sequence[float]
    target: str
    of_peak: float | None = None

    @property
    def ratios(self) -> list[float]:
        """Ours over the baseline, for each round."""
        return [one / other for one, other in zip(self.ours, self.baseline, strict=True)]

    @property
    def cells(self) -> tuple[str, ...]:
        """The row: medians, and the least and the greatest ratio."""
        digits = 1 if self.unit == "s" else 0
        return (
            self.name,
            f"{statistics.median(self.ours):,.{digits}f}",
            f"{statistics.median(self.baseline):,.{digits}f}",
            self.unit,
            f"{statistics.median(self.ratios):.2f}",
            f"{min(self.ratios):.2f}–{max(self.ratios):.2f}",
            self.target,
            "" if self.of_peak is None else f"{self.of_peak:.0%}",
        )


def in_turn(ways: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """What each way measured, once a round; the values are printed as they come."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, measure in ways.items():
            found[name].append(measure())
            print(f"{name}: {found[name][-1]:,.1f}", flush=True)
    return found


def markdown(rows: Sequence[Paired]) -> str:
    """The table of the documentation."""
    lines = [COLUMNS, ("---",) * len(COLUMNS), *(each.cells for each in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
