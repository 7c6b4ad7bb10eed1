"""Results of the published report of 2020, and tables that show ours beside them.

The report classified Fashion-MNIST with the competition's five labels.
"""

from dataclasses import dataclass

from fmnist.comparison.facts import ComparedCell
from fmnist.comparison.pages.tables import NUMBERS, Kind, no_break, number_cell, spread_texts
from fmnist.comparison.statistics.ranking import RankedCell
from fmnist.comparison.statistics.significance import spread
from fmnist.pages.html import NO_VALUE, Cell, Table
from fmnist.pages.scores import SCORES, EvaluationJson, Metric, score_cell, score_text
from fmnist.recipes import RECIPES

TASK = "competition"  # the only task that has the report's labels
# What decides a result beside the settings in the names of cells, in our names.
SETTINGS = {
    name: getattr(RECIPES["report"], name)
    for name in (
        "schedule", "weight_decay", "label_smoothing", "average_weights", "batch", "epochs",
        "augmentation", "validation",
    )
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class PaperResult:
    """A row of the report's tables: losses in nats, None where the report has no number."""

    architecture: str = "cnn"
    activation: str = "relu"
    optimizer: str = "adam"
    train_loss: float
    validation_loss: float
    train_accuracy: float
    validation_accuracy: float
    parameters: int | None = None
    layers: int | None = None
    seconds_per_epoch: float | None = None  # on a Colab GPU

    def belongs_to(self, cell: ComparedCell) -> bool:
        """True if the report measured this cell of a comparison."""
        report = {**vars(RECIPES["report"]), **vars(self)}
        return all(value == report[name] for name, value in cell.settings.items())


@dataclass(frozen=True, kw_only=True)
class PaperTable:
    """A table of the report, whose rows differ in one axis of a cell."""

    title: str
    axis: str
    results: tuple[PaperResult, ...]


CNN = PaperResult(
    parameters=6_484_330,
    seconds_per_epoch=1,
    train_loss=0.0327,
    validation_loss=0.2995,
    train_accuracy=0.9891,
    validation_accuracy=0.9137,
)

ARCHITECTURES = (
    PaperResult(
        architecture="dense",
        parameters=1_398_597,
        seconds_per_epoch=0.47,
        train_loss=0.0411,
        validation_loss=0.8803,
        train_accuracy=0.9852,
        validation_accuracy=0.8619,
    ),
    CNN,
    PaperResult(
        architecture="resnet",
        parameters=6_753_669,
        layers=11,
        seconds_per_epoch=5,
        train_loss=0.012,
        validation_loss=0.6031,
        train_accuracy=0.999,
        validation_accuracy=0.897,
    ),
    PaperResult(
        architecture="inception",
        parameters=325_426,
        layers=9,
        seconds_per_epoch=4,
        train_loss=0.0153,
        validation_loss=0.5963,
        train_accuracy=0.9952,
        validation_accuracy=0.9027,
    ),
)

# The report names the learning rate 0.001 here and 0.0001 for the optimizers, yet the row that both
# tables share has the same numbers in each: it was 0.0001.
ACTIVATIONS = (
    PaperResult(
        activation="sigmoid",
        train_loss=0.2427,
        validation_loss=0.2518,
        train_accuracy=0.905,
        validation_accuracy=0.9013,
    ),
    CNN,
    PaperResult(
        activation="tanh",
        train_loss=0.063,
        validation_loss=0.2928,
        train_accuracy=0.978,
        validation_accuracy=0.9023,
    ),
)

OPTIMIZERS = (
    PaperResult(
        optimizer="rmsprop",
        train_loss=0.0231,
        validation_loss=1.0896,
        train_accuracy=0.9932,
        validation_accuracy=0.8625,
    ),
    CNN,
    PaperResult(
        optimizer="sgd",
        train_loss=0.2679,
        validation_loss=0.2622,
        train_accuracy=0.8926,
        validation_accuracy=0.8972,
    ),
)

TABLES = (
    PaperTable(
        title="Architectures, with relu and adam", axis="architecture", results=ARCHITECTURES
    ),
    PaperTable(title="Activations, of the cnn with adam", axis="activation", results=ACTIVATIONS),
    PaperTable(title="Optimizers, of the cnn with relu", axis="optimizer", results=OPTIMIZERS),
)

# Scores of the report's final model, the cnn, on the validation images.
FINAL: dict[Metric, float] = {
    "accuracy": 0.9136,
    "precision": 0.9136,
    "recall": 0.9136,
    "f1": 0.9136,
    "roc_auc": 0.9923,
}
FINAL_SECONDS = 0.2  # about; the time to test the validation images
LEADERBOARD = 0.9184  # accuracy on the competition's test images, trained on all the others


COMPARED_NUMBERS = (
    "parameters", "layers", "seconds_per_epoch",
    "train_loss", "validation_loss", "train_accuracy", "validation_accuracy",
)  # fmt: skip


def find_result(cell: ComparedCell) -> PaperResult | None:
    """Returns the report's result for a cell of a comparison, or None if it has none."""
    results = (result for table in TABLES for result in table.results)
    return next((result for result in results if result.belongs_to(cell)), None)


def paper_tables(ranked: list[RankedCell]) -> list[Table]:
    """Returns the report's tables with our numbers, of the cells that are in both.

    A table with a single row compares nothing: it is left out unless there is no other.
    """
    tables = [_paper_table(table, ranked) for table in TABLES]
    compared = [table for table in tables if len(table.rows) > 1]
    return compared or [table for table in tables if table.rows][:1]


def _paper_table(table: PaperTable, ranked: list[RankedCell]) -> Table:
    rows = [
        (getattr(result, table.axis), [_pair(row, result, name) for name in COMPARED_NUMBERS])
        for result in table.results
        for row in ranked
        if result.belongs_to(row.cell)
    ]
    headers = [table.axis.capitalize(), *(NUMBERS[name][0] for name in COMPARED_NUMBERS)]
    return Table(table.title, headers, rows)


def _pair(row: RankedCell, result: PaperResult, name: str) -> Cell:
    """Returns our number, and in small print the report's and our number minus the report's."""
    ours = number_cell(row, name)
    text = " ".join(ours).strip()
    theirs = getattr(result, name)
    if theirs is None:
        return Cell(text)
    kind = NUMBERS[name][1]
    theirs_text = f"{theirs:,}" if kind == "count" else spread_texts(spread([theirs]), kind)[0]
    if ours == NO_VALUE:
        return Cell(text, f"report {theirs_text}")
    mean = getattr(row.cell, name) if kind == "count" else row.values[name].mean
    return Cell(text, f"{no_break(f'report {theirs_text}')} ({_signed(mean - theirs, kind)})")


def _signed(difference: float, kind: Kind) -> str:
    form = {"count": "+,d", "seconds": "+,.2f", "loss": "+.4f", "share": "+.2f"}[kind]
    return format(100 * difference if kind == "share" else difference, form).replace("-", "−")


def final_model_table(evaluation: EvaluationJson, split: str, best: RankedCell) -> Table:
    """Returns the scores of our best cell beside those of the report's final model."""
    rows = [
        (SCORES[name], [score_cell(name, evaluation), Cell(score_text(name, value))])
        for name, value in FINAL.items()
    ]
    test = number_cell(best, "test_accuracy")
    rows += [
        ("Leaderboard: test accuracy", [test, Cell(f"{LEADERBOARD:.2%}")]),
        ("Time to test the validation images", [NO_VALUE, Cell(f"about {FINAL_SECONDS} s")]),
    ]
    caption = (
        "The best cell beside the report's final model, the cnn, which for the leaderboard was "
        "trained on all the training images. In small print: 95% confidence intervals of one run; "
        "of the test accuracy, ± over the seeds."
    )
    return Table(caption, ["Score", f"Ours, {split} images", "Report, validation images"], rows)
