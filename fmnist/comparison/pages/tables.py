"""Makes the tables of a comparison: its cells for people, its runs as Parquet."""

from typing import Any, Literal

import pyarrow as pa

from fmnist.comparison.facts import ComparedCell, ComparedRun, Comparison, Split
from fmnist.comparison.grid.settings import AXES, Settings
from fmnist.comparison.statistics.effects import Effect
from fmnist.comparison.statistics.ranking import RankedCell
from fmnist.comparison.statistics.significance import Difference, Spread
from fmnist.pages.html import NO_VALUE, Cell, FactList, Table, decimals_of_seconds
from fmnist.pages.scores import SPLITS

Kind = Literal["count", "seconds", "loss", "share"]

NUMBERS: dict[str, tuple[str, Kind]] = {  # title and kind, by the name of a cell's number
    "parameters": ("Parameters", "count"),
    "layers": ("Layers", "count"),
    "seconds_per_epoch": ("Time per epoch", "seconds"),
    "seconds": ("Training time", "seconds"),
    "train_loss": ("Training loss", "loss"),
    "validation_loss": ("Validation loss", "loss"),
    "train_accuracy": ("Training accuracy", "share"),
    "validation_accuracy": ("Validation accuracy", "share"),
    "test_accuracy": ("Test accuracy", "share"),
}
RANKING_COLUMNS = (
    "validation_accuracy", "train_accuracy", "test_accuracy", "validation_loss", "train_loss",
    "seconds_per_epoch", "seconds", "parameters", "layers",
)  # fmt: skip
UNFINISHED = 50  # runs that are listed

RUN_FIELDS = [  # of a run; before them, results.parquet has its cell and the cell's settings
    pa.field("seed", pa.int64()),
    pa.field("run", pa.string()),
    pa.field("outcome", pa.string()),
    pa.field("reason", pa.string()),
    *(pa.field(name, pa.int64()) for name in ("parameters", "layers", "epochs")),
    *(pa.field(name, pa.float64()) for name in ("seconds_per_epoch", "seconds")),
    *(
        pa.field(f"{part}_{name}", pa.float64())
        for part in ("train", "validation", "test")
        for name in ("loss", "accuracy")
    ),
]
ARROW_TYPES = {bool: pa.bool_(), int: pa.int64(), float: pa.float64()}  # others are text


def comparison_table(comparison: Comparison) -> pa.Table:
    """Returns a row for each cell and seed, in the comparison's order.

    It has a column for each of the cells' settings; of `epochs` it has those that were trained.
    `outcome` is finished, stopped or failed. Losses are in nats, accuracies are shares. A value
    that a failed run, a stopped run or the data do not have is null.
    """
    runs = [
        _cell_columns(cell) | columns
        for cell in comparison.cells
        for columns in (
            *map(_run_columns, cell.runs),
            *({**vars(failure), "outcome": "failed"} for failure in cell.failures),
        )
    ]
    order = {cell.name: place for place, cell in enumerate(comparison.cells)}
    runs.sort(key=lambda row: (order[row["cell"]], row["seed"]))
    return pa.Table.from_pylist(runs, schema=_schema(comparison.cells[0].settings))


def _schema(settings: Settings) -> pa.Schema:
    kinds = {name: ARROW_TYPES.get(AXES[name], pa.string()) for name in settings}
    known = {field.name for field in RUN_FIELDS}
    own = [pa.field(name, kind) for name, kind in kinds.items() if name not in known]
    return pa.schema([pa.field("cell", pa.string()), *own, *RUN_FIELDS])


def _cell_columns(cell: ComparedCell) -> dict[str, Any]:
    size = {"parameters": cell.parameters, "layers": cell.layers}
    settings = {name: value for name, value in cell.settings.items() if name != "epochs"}
    return {"cell": cell.name, **settings, **size}


def _run_columns(run: ComparedRun) -> dict[str, object]:
    return {
        "seed": run.seed,
        "run": run.id,
        "outcome": "finished" if run.stopped_at is None else "stopped",
        "epochs": len(run.history),
        **run.measures,
    }


def ranking(ranked: list[RankedCell]) -> Table:
    """Returns every cell with all its numbers, the best cell first."""
    first = f"{ranked[0].basis}_accuracy"
    known = {*ranked[0].values, "parameters", "layers"}
    names = [name for name in RANKING_COLUMNS if name in known and name != first]
    titles = ["Cell", "Seeds", NUMBERS[first][0], "Behind the best"]
    rows = [
        (
            row.label,
            [
                _seeds_cell(row.cell),
                number_cell(row, first),
                NO_VALUE if row is ranked[0] else _gap_cell(row),
                *(number_cell(row, name) for name in names),
            ],
        )
        for row in ranked
    ]
    caption = (
        "Mean over the seeds; in small print: ± the sample standard deviation. Losses in nats, "
        "times per epoch are medians."
    )
    return Table(caption, titles + [NUMBERS[name][0] for name in names], rows)


def effects(found: list[Effect], basis: Split) -> Table | None:
    """Returns what each value of a setting does, or None where nothing was found."""
    rows = [
        (
            effect.value,
            [
                Cell(effect.reference),
                Cell(str(effect.pairs)),
                _signed_gap(effect.difference),
            ],
        )
        for effect in found
    ]
    caption = (
        "Each value instead of the first cell's, in pairs of cells that differ in nothing else: "
        f"difference of their mean {SPLITS[basis]} accuracy. In small print: the two-sided paired "
        "t-test over the seeds, Holm-corrected over this table."
    )
    headers = ["Setting", "Instead of", "Pairs of cells", "Difference"]
    return Table(caption, headers, rows) if rows else None


def significance_text(difference: Difference | None) -> str:
    """Says whether a difference to the best cell is significant, or why that is not known.

    None stands for a difference to which a run belongs that was stopped early.
    """
    if difference is None:
        return "stopped early: no statement"
    if difference.n < 2:
        return "one seed: no statement" if difference.n else "no common seed: no statement"
    if difference.p is None:
        return "same for each seed: no statement"
    size = "more than noise" if difference.significant else "within the noise"
    p = "< 0.001" if difference.p < 0.001 else f"= {difference.p:.2g}"
    return f"{no_break(size)}, {no_break(f'p {p}')}"


def no_break(text: str) -> str:
    """Returns text that browsers keep on one line in a narrow cell."""
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def _gap_cell(row: RankedCell) -> Cell:
    if not row.values:
        return NO_VALUE
    difference = row.difference
    if difference is None or difference.mean is None:
        return Cell("–", significance_text(difference))
    return Cell(f"{100 * difference.mean:.2f} points", significance_text(difference))


def _signed_gap(difference: Difference) -> Cell:
    if difference.mean is None:
        return Cell("–", significance_text(difference))
    points = round(100 * difference.mean, 2) + 0.0  # which makes 0 of −0
    return Cell(f"{points:+.2f} points".replace("-", "−"), significance_text(difference))


def _seeds_cell(cell: ComparedCell) -> Cell:
    stopped = sum(run.stopped_at is not None for run in cell.runs)
    notes = [
        no_break(f"{count} {what}")
        for count, what in ((len(cell.failures), "failed"), (stopped, "stopped"))
        if count
    ]
    return Cell(str(len(cell.runs)), ", ".join(notes))


def number_cell(row: RankedCell, name: str) -> Cell:
    """Returns one of NUMBERS of a ranked cell, with its deviation in small print."""
    if name in ("parameters", "layers"):
        size = getattr(row.cell, name)
        return NO_VALUE if size is None else Cell(f"{size:,}")
    if name not in row.values:
        return NO_VALUE
    return Cell(*spread_texts(row.values[name], NUMBERS[name][1]))


def spread_texts(value: Spread, kind: Kind) -> tuple[str, str]:
    """Returns a mean and its deviation as text; the deviation of a single seed is empty."""
    if kind == "share":
        mean, deviation = f"{value.mean:.2%}", ".2f"
    elif kind == "loss":
        mean, deviation = f"{value.mean:.4f}", ".4f"
    else:
        deviation = f",.{decimals_of_seconds(value.mean)}f"
        mean = f"{value.mean:{deviation}} s"
    if value.deviation is None:
        return mean, ""
    scale = 100 if kind == "share" else 1
    return mean, no_break(f"± {scale * value.deviation:{deviation}}")


def unfinished(comparison: Comparison) -> FactList:
    """Lists failed runs with their reasons, and stopped runs with their last epochs.

    After UNFINISHED of them it says how many more there are.
    """
    pairs = []
    for cell in comparison.cells:
        pairs += [
            (f"{cell.name}, seed {failure.seed}", f"failed: {failure.reason}")
            for failure in cell.failures
        ]
        pairs += [
            (f"{cell.name}, seed {run.seed}", f"stopped early, after epoch {run.stopped_at}")
            for run in cell.runs
            if run.stopped_at is not None
        ]
    more = len(pairs) - UNFINISHED
    return pairs[:UNFINISHED] + ([(f"{more} more", "see results.parquet")] if more > 0 else [])
