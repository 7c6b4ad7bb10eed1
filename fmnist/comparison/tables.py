"""The tables of a comparison: its cells for people, its runs as Parquet."""

import pyarrow as pa

from fmnist.comparison.ranking import RankedCell, run_values
from fmnist.comparison.significance import Difference, Spread
from fmnist.pages.html import Cell, Table

NONE = Cell("–")
NUMBERS = {
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
REST = (
    "validation_accuracy", "train_accuracy", "test_accuracy", "validation_loss", "train_loss",
    "seconds_per_epoch", "seconds", "parameters", "layers",
)  # fmt: skip

RUNS = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in ("cell", "architecture", "activation")),
        pa.field("optimizer", pa.string()),
        pa.field("learning_rate", pa.float64()),
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
)


def comparison_table(comparison: dict) -> pa.Table:
    """One row a cell and seed, in the comparison's order; `outcome` finished, stopped or failed.

    Losses in nats, accuracies as shares; null is what a failed run or its data does not have.
    """
    rows = []
    for each in comparison["cells"]:
        runs = [_run_row(run) for run in each["runs"]]
        failures = [{**failure, "outcome": "failed"} for failure in each["failures"]]
        shared = {name: each[name] for name in RUNS.names if name in each} | {"cell": each["name"]}
        rows += [shared | row for row in sorted(runs + failures, key=lambda row: row["seed"])]
    return pa.Table.from_pylist(rows, schema=RUNS)


def _run_row(run: dict) -> dict:
    return {
        "seed": run["seed"],
        "run": run["id"],
        "outcome": "finished" if run["stopped_at"] is None else "stopped",
        "epochs": len(run["history"]),
        **run_values(run),
    }


def ranking(ranked: list[RankedCell]) -> Table:
    """Every cell, the best first, with all its numbers."""
    first = f"{ranked[0].basis}_accuracy"
    known = {*ranked[0].values, "parameters", "layers"}
    names = [name for name in REST if name in known and name != first]
    titles = ["Cell", "Seeds", NUMBERS[first][0], "Behind the best"]
    rows = [
        (
            standing.label,
            [
                _seeds(standing.cell),
                number(standing, first),
                NONE if standing is ranked[0] else _behind(standing),
                *(number(standing, name) for name in names),
            ],
        )
        for standing in ranked
    ]
    caption = (
        "Mean over the seeds; in small print: ± the sample standard deviation. Losses in nats, "
        "times per epoch are medians."
    )
    return Table(caption, titles + [NUMBERS[name][0] for name in names], rows)


def verdict(difference: Difference | None) -> str:
    """What a difference to the best is worth; None is one that a stopped run makes unfair."""
    if difference is None:
        return "stopped early: no statement"
    if difference.n < 2:
        return "one seed: no statement" if difference.n else "no common seed: no statement"
    if difference.p is None:
        return "same for each seed: no statement"
    what = "more than noise" if difference.clear else "within the noise"
    p = "< 0.001" if difference.p < 0.001 else f"= {difference.p:.2g}"
    return f"{unbroken(what)}, {unbroken(f'p {p}')}"


def unbroken(text: str) -> str:
    """Text that stays on one line in a narrow cell."""
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def _behind(standing: RankedCell) -> Cell:
    if not standing.values:
        return NONE
    difference = standing.difference
    if difference is None or difference.mean is None:
        return Cell("–", verdict(difference))
    return Cell(f"{100 * difference.mean:.2f} points", verdict(difference))


def _seeds(each: dict) -> Cell:
    stopped = sum(run["stopped_at"] is not None for run in each["runs"])
    notes = [
        unbroken(f"{count} {what}")
        for count, what in ((len(each["failures"]), "failed"), (stopped, "stopped"))
        if count
    ]
    return Cell(str(len(each["runs"])), ", ".join(notes))


def number(standing: RankedCell, name: str) -> Cell:
    """One of NUMBERS of a cell, its ± in small print."""
    if name in ("parameters", "layers"):
        return NONE if standing.cell[name] is None else Cell(f"{standing.cell[name]:,}")
    if name not in standing.values:
        return NONE
    value, deviation = texts(standing.values[name], NUMBERS[name][1])
    return Cell(value, deviation)


def texts(value: Spread, kind: str) -> tuple[str, str]:
    """A mean and its ± of a kind of number; nothing for the ± of a single seed."""
    if kind == "share":
        mean, deviation = f"{value.mean:.2%}", ".2f"
    elif kind == "loss":
        mean, deviation = f"{value.mean:.4f}", ".4f"
    else:
        deviation = f",.{_decimals(value.mean)}f"
        mean = f"{value.mean:{deviation}} s"
    if value.deviation is None:
        return mean, ""
    scale = 100 if kind == "share" else 1
    return mean, unbroken(f"± {scale * value.deviation:{deviation}}")


def _decimals(seconds: float) -> int:
    return 2 if seconds < 10 else 1 if seconds < 100 else 0


def unfinished(comparison: dict) -> list[tuple[str, str]]:
    """What failed and what was stopped early: cell and seed, with the reason or the epoch."""
    pairs = []
    for each in comparison["cells"]:
        for failure in each["failures"]:
            pairs.append(
                (f"{each['name']}, seed {failure['seed']}", f"failed: {failure['reason']}")
            )
        for run in each["runs"]:
            if run["stopped_at"] is not None:
                what = f"stopped early, after epoch {run['stopped_at']}"
                pairs.append((f"{each['name']}, seed {run['seed']}", what))
    return pairs
