"""Our results beside the report's."""

from fmnist.comparison import paper
from fmnist.comparison.ranking import RankedCell
from fmnist.comparison.significance import spread
from fmnist.comparison.tables import NONE, NUMBERS, number, texts, unbroken
from fmnist.pages.html import Cell, Table
from fmnist.pages.scores import SCORES, EvaluationJson, score_cell, score_text

BESIDE = (
    "parameters", "layers", "seconds_per_epoch",
    "train_loss", "validation_loss", "train_accuracy", "validation_accuracy",
)  # fmt: skip


def beside_report(ranked: list[RankedCell]) -> list[Table]:
    """The report's tables with ours beside, of the cells that are in both.

    A table of which only one row is here says nothing by itself: it is left out if others are not.
    """
    tables = [_beside(table, ranked) for table in paper.TABLES]
    compared = [table for table in tables if len(table.rows) > 1]
    return compared or [table for table in tables if table.rows][:1]


def _beside(table: paper.Table, ranked: list[RankedCell]) -> Table:
    rows = [
        (getattr(result, table.axis), [_pair(standing, result, name) for name in BESIDE])
        for result in table.results
        for standing in ranked
        if result.is_of(standing.cell)
    ]
    headers = [table.axis.capitalize(), *(NUMBERS[name][0] for name in BESIDE)]
    return Table(table.title, headers, rows)


def _pair(standing: RankedCell, result: paper.Result, name: str) -> Cell:
    """Our number over the report's, and by how much ours is above it."""
    ours = number(standing, name)
    text = " ".join(ours).strip()
    theirs = getattr(result, name)
    if theirs is None:
        return Cell(text)
    kind = NUMBERS[name][1]
    alone = f"{theirs:,}" if kind == "count" else texts(spread([theirs]), kind)[0]
    if ours == NONE:
        return Cell(text, f"report {alone}")
    mean = standing.cell[name] if kind == "count" else standing.values[name].mean
    return Cell(text, f"{unbroken(f'report {alone}')} ({_signed(mean - theirs, kind)})")


def _signed(difference: float, kind: str) -> str:
    form = {"count": "+,d", "seconds": "+,.2f", "loss": "+.4f", "share": "+.2f"}[kind]
    return format(100 * difference if kind == "share" else difference, form).replace("-", "−")


def beside_final(evaluation: EvaluationJson, split: str, best: RankedCell) -> Table:
    """Our best cell beside the report's other numbers, those of its final model."""
    rows = [
        (SCORES[name], [score_cell(name, evaluation), Cell(score_text(name, value))])
        for name, value in paper.FINAL.items()
    ]
    test = number(best, "test_accuracy")
    rows += [
        ("Leaderboard: test accuracy", [test, Cell(f"{paper.LEADERBOARD:.2%}")]),
        ("Time to test the validation images", [NONE, Cell(f"about {paper.FINAL_SECONDS} s")]),
    ]
    caption = (
        "The best cell beside the report's final model, the cnn, which for the leaderboard was "
        "trained on all the training images. In small print: 95% confidence intervals of one run; "
        "of the test accuracy, ± over the seeds."
    )
    return Table(caption, ["Score", f"Ours, {split} images", "Report, validation images"], rows)
