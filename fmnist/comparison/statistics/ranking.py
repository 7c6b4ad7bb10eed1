"""Ranks the cells of a comparison over their seeds, and compares each with the best."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from fmnist.comparison.facts import ComparedCell, Comparison, Split
from fmnist.comparison.grid.settings import AXES, cell_labels
from fmnist.comparison.statistics.significance import Difference, Spread, gaps_to_best, spread


@dataclass(frozen=True, kw_only=True)
class RankedCell:
    """A cell, and the spread of its numbers over its seeds.

    `label` is its name without the parts that all cells of the comparison share, and `tick` the
    same without the names of settings, for an axis with little room. `values` has the
    names of `ComparedRun.measures` that all its runs have; it is empty where no run came to an end.
    `basis` is the split by whose accuracy the cells are ranked: validation or, where nothing is
    held out, train. `difference` is the best cell's accuracy minus this one's. It is None for the
    best cell itself, and where a run of either was stopped early.
    """

    cell: ComparedCell
    label: str
    tick: str
    values: dict[str, Spread]
    basis: Split
    difference: Difference | None

    @property
    def accuracy(self) -> Spread:
        """The accuracy by which the cell is ranked; KeyError where no run came to an end."""
        return self.values[f"{self.basis}_accuracy"]

    @property
    def epochs(self) -> int:
        """Number of epochs of the longest run."""
        return max(len(run.history) for run in self.cell.runs)


def rank_cells(comparison: Comparison) -> list[RankedCell]:
    """Returns the cells by mean accuracy, then by mean loss, then in the order of the grid.

    Cells whose runs were all stopped early come after these, and cells without runs come last.
    """
    cells = [
        replace(cell, runs=sorted(cell.runs, key=lambda run: run.seed)) for cell in comparison.cells
    ]
    values = [_spreads(cell) for cell in cells]
    held_out = all("validation" in run.scores for cell in cells for run in cell.runs)
    basis: Split = "validation" if held_out else "train"
    order = sorted(range(len(cells)), key=lambda i: _sort_key(cells[i], values[i], basis))
    differences = _differences([cells[i] for i in order], basis)
    settings = [cell.settings for cell in cells]
    labels = cell_labels(settings, comparison.ablated)
    ticks = cell_labels(settings, comparison.ablated, unlabelled=AXES)
    return [
        RankedCell(
            cell=cells[i],
            label=labels[i],
            tick=ticks[i],
            values=values[i],
            basis=basis,
            difference=differences.get(cells[i].name),
        )
        for i in order
    ]


def best_cell(comparison: Comparison) -> ComparedCell | None:
    """Returns the cell that is ranked first, or None where no run came to an end."""
    best = rank_cells(comparison)[0]
    return best.cell if best.values else None


def _spreads(cell: ComparedCell) -> dict[str, Spread]:
    measures = pd.DataFrame([run.measures for run in cell.runs])
    # A run that was stopped early was not tested: without all test scores, the cell has none.
    complete = measures.dropna(axis="columns")
    return {str(name): spread(column) for name, column in complete.items()}


def _sort_key(cell: ComparedCell, values: dict[str, Spread], basis: Split) -> tuple[float, ...]:
    if not values:
        return (2,)
    stopped = all(run.stopped_at is not None for run in cell.runs)
    return stopped, -values[f"{basis}_accuracy"].mean, values[f"{basis}_loss"].mean


def _differences(ranked: Sequence[ComparedCell], basis: Split) -> dict[str, Difference]:
    """Returns differences to the first cell, by name, of cells whose runs all were finished."""
    finished = {cell.name: found for cell in ranked if (found := cell.accuracies(basis))}
    best = finished.pop(ranked[0].name, None)
    return gaps_to_best(best, finished) if best else {}
