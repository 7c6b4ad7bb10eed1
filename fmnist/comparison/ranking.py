"""How the cells of a comparison stand: over their seeds, and against the best of them."""

from dataclasses import dataclass
from statistics import median

from fmnist.comparison.significance import Difference, Spread, gaps_to_best, spread

SEPARATOR = " · "  # between the parts of a cell's name


@dataclass(frozen=True, kw_only=True)
class RankedCell:
    """A cell over its seeds.

    `label` is its name without what all cells of the comparison share. `values` are by the names of
    `run_values`, and empty where no run came to an end. `basis` is the part of the data by which
    the cells are ranked: validation or, where nothing is held out, train. `difference` in its
    accuracy is to the best cell: None of the best itself, and where a run of either was stopped
    early.
    """

    cell: dict
    label: str
    values: dict[str, Spread]
    basis: str
    difference: Difference | None

    @property
    def accuracy(self) -> Spread:
        """That by which it is ranked; only where a run came to an end."""
        return self.values[f"{self.basis}_accuracy"]


def rank_cells(comparison: dict) -> list[RankedCell]:
    """Of every cell: by mean accuracy, then loss, then as given.

    Cells of which no run was trained to the end come after those, and those without runs last.
    """
    cells = [
        {**cell, "runs": sorted(cell["runs"], key=lambda run: run["seed"])}
        for cell in comparison["cells"]
    ]
    values = [_spreads(cell) for cell in cells]
    held_out = all("validation" in run["scores"] for cell in cells for run in cell["runs"])
    basis = "validation" if held_out else "train"
    order = sorted(range(len(cells)), key=lambda i: _rank(cells[i], values[i], basis))
    differences = _differences([cells[i] for i in order], basis)
    labels = _labels([cell["name"] for cell in cells])
    return [
        RankedCell(
            cell=cells[i],
            label=labels[i],
            values=values[i],
            basis=basis,
            difference=differences.get(cells[i]["name"]),
        )
        for i in order
    ]


def best_cell(comparison: dict) -> dict | None:
    """The cell that stands first; None where no run came to an end."""
    best = rank_cells(comparison)[0]
    return best.cell if best.values else None


def run_values(run: dict) -> dict[str, float]:
    """Numbers of a run: `train_loss`, `train_accuracy`, the same of the other parts, and times.

    `seconds_per_epoch` is a median, which the first, slow epoch does not move; `seconds` a sum.
    """
    seconds = [epoch["seconds"] for epoch in run["history"]]
    scores = {
        f"{part}_{name}": part_scores[name]
        for part, part_scores in run["scores"].items()
        for name in ("loss", "accuracy")
    }
    return scores | {"seconds_per_epoch": median(seconds), "seconds": sum(seconds)}


def _spreads(cell: dict) -> dict[str, Spread]:
    runs = [run_values(run) for run in cell["runs"]]
    # A run that was stopped early was not tested.
    names = [name for name in runs[0] if all(name in run for run in runs)] if runs else []
    return {name: spread([run[name] for run in runs]) for name in names}


def _rank(cell: dict, values: dict[str, Spread], basis: str) -> tuple[float, ...]:
    if not values:
        return (2,)
    stopped = all(run["stopped_at"] is not None for run in cell["runs"])
    return stopped, -values[f"{basis}_accuracy"].mean, values[f"{basis}_loss"].mean


def _differences(ranked: list[dict], basis: str) -> dict[str, Difference]:
    """By name, of the cells that can be held against the first."""
    fair = {
        cell["name"]: {run["seed"]: run["scores"][basis]["accuracy"] for run in cell["runs"]}
        for cell in ranked
        if cell["runs"] and all(run["stopped_at"] is None for run in cell["runs"])
    }
    best = fair.pop(ranked[0]["name"], None)
    return gaps_to_best(best, fair) if best else {}


def _labels(names: list[str]) -> list[str]:
    parts = [name.split(SEPARATOR) for name in names]
    if len({len(each) for each in parts}) > 1:
        return names
    differing = [len(set(column)) > 1 for column in zip(*parts, strict=True)]
    if not any(differing):
        return names
    return [
        SEPARATOR.join(part for part, differs in zip(each, differing, strict=True) if differs)
        for each in parts
    ]
