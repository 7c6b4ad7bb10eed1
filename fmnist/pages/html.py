"""The pages people look at: one HTML file each, complete in itself."""

from statistics import median
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from fmnist.pages import plots

SPLITS = {"train": "training", "validation": "validation", "test": "test"}
SCORES = {
    "accuracy": "Accuracy",
    "loss": "Loss (nats)",
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
    "roc_auc": "ROC AUC",
}
NOT_SHARES = ("loss", "roc_auc")  # by custom shown as plain numbers, the others in percent


class Cell(NamedTuple):
    """A cell of a table: what it says and, in small print, its 95% interval."""

    value: str
    interval: str = ""


class Table(NamedTuple):
    """`headers[0]` names the rows; a row is its name and its cells."""

    caption: str
    headers: list[str]
    rows: list[tuple[str, list[Cell]]]


class Card(NamedTuple):
    """One number of a page's head."""

    name: str
    value: str
    note: str


class Headline(NamedTuple):
    """The conclusion of a run, from its best evidence: the test part if there is one."""

    split: str
    title: str
    certainty: str
    mistake: str


def render(template: str, **context: object) -> str:
    """A page from a template, everything escaped, with Plotly's script inside."""
    environment = Environment(
        loader=PackageLoader("fmnist"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(template)
    return page.render(plotly_script=Markup(get_plotlyjs()), **context)


def run_page(run: dict) -> str:
    """The page of one training run: scores, learning curves, confusion matrix, how it was made.

    `run` holds id, task (name, classes), command, config, parameters, best_epoch (None without a
    validation part), history (a dict an epoch: epoch, loss, accuracy, seconds and, with a
    validation part, val_loss, val_accuracy), evaluations (`Evaluation.to_json()` by part: train,
    validation, test; at least one), seconds (by what took them), dataset (source, fingerprint,
    sizes), versions and hardware.
    """
    evaluations = {
        split: run["evaluations"][split] for split in SPLITS if split in run["evaluations"]
    }
    split, evidence = list(evaluations.items())[-1]
    return render(
        "run.html.j2",
        run=run,
        headline=_headline(SPLITS[split], evidence),
        cards=_cards(run, evidence),
        loss=_curves(run, "loss", "Loss (nats per image)", ".3~f"),
        accuracy=_curves(run, "accuracy", "Accuracy (share of images)", ".1~%"),
        confusion=plots.confusion_matrix(
            evidence["confusion"], run["task"]["classes"]
        ).to_plotly_json(),
        splits=[SPLITS[name].capitalize() for name in evaluations],
        score_rows=score_rows(evaluations),
        class_rows=class_rows(evidence),
        fact_lists=_fact_lists(run),
    )


def _headline(split: str, evidence: dict) -> Headline:
    interval = cell("accuracy", evidence).interval
    return Headline(
        split=split,
        title=f"{evidence['accuracy']:.2%} of {evidence['examples']:,} {split} images right",
        certainty=f"95% confidence interval: {interval}.",
        mistake=_commonest_mistake(evidence),
    )


def _commonest_mistake(evidence: dict) -> str:
    mistakes = [
        (count, true, predicted)
        for true, row in enumerate(evidence["confusion"])
        for predicted, count in enumerate(row)
        if true != predicted and count
    ]
    if not mistakes:
        return "It made no mistake."
    count, true, predicted = max(mistakes)
    classes = evidence["per_class"]
    return (
        f"Its commonest mistake: {classes[true]['name']} taken for {classes[predicted]['name']}, "
        f"{count:,} of {classes[true]['support']:,}."
    )


def _cards(run: dict, evidence: dict) -> list[Card]:
    scores = [Card(SCORES[name], *cell(name, evidence)) for name in ("f1", "roc_auc", "loss")]
    epochs = [epoch["seconds"] for epoch in run["history"]]
    best = f"{run['best_epoch']:,}" if run["best_epoch"] else "–"  # without validation, none is
    return [
        *scores,
        Card("Time per epoch", f"{median(epochs):,.3g} s", f"median of {len(epochs):,}"),
        Card("Best epoch", best, f"of {len(epochs):,}"),
        Card("Parameters", f"{run['parameters']:,}", "in the model"),
    ]


def _curves(run: dict, name: str, title: str, tick_format: str) -> dict:
    history = run["history"]
    epochs = [epoch["epoch"] for epoch in history]
    series = [plots.Line(name="training", x=epochs, y=[e[name] for e in history], dashed=True)]
    if all(f"val_{name}" in epoch for epoch in history):
        values = [epoch[f"val_{name}"] for epoch in history]
        series.insert(0, plots.Line(name="validation", x=epochs, y=values))
    figure = plots.epoch_curves(series, y_title=title, y_format=tick_format, best=run["best_epoch"])
    return figure.to_plotly_json()


def cell(metric: str, scores: dict) -> Cell:
    """One metric of an evaluation (or of one of its classes) as text; – where it is undefined."""
    if scores[metric] is None:
        return Cell("–")
    kind = ".4f" if metric in NOT_SHARES else ".2%"
    interval = scores["intervals"].get(metric)
    if interval is None:
        return Cell(format(scores[metric], kind))
    low, high = (format(bound, kind) for bound in interval)
    return Cell(format(scores[metric], kind), f"{low}\N{NO-BREAK SPACE}– {high}")


def score_rows(evaluations: dict[str, dict]) -> list[tuple[str, list[Cell]]]:
    """Each score, a column an evaluation; the first row has their numbers of images."""
    sizes = [Cell(f"{scores['examples']:,}") for scores in evaluations.values()]
    rows = [
        (title, [cell(name, scores) for scores in evaluations.values()])
        for name, title in SCORES.items()
    ]
    return [("Images", sizes), *rows]


def class_rows(evidence: dict) -> list[tuple[str, list[Cell]]]:
    """Each class of an evaluation: its images, precision, recall, F1 and ROC AUC."""
    columns = ("precision", "recall", "f1", "roc_auc")
    return [
        (
            scores["name"],
            [Cell(f"{scores['support']:,}"), *(cell(name, scores) for name in columns)],
        )
        for scores in evidence["per_class"]
    ]


def _fact_lists(run: dict) -> dict[str, list[tuple[str, str]]]:
    """What the run was made of and with, by heading."""
    lists = {
        "Configuration": run["config"],
        "Data": run["dataset"],
        "Time": {what: f"{seconds:,.1f} s" for what, seconds in run["seconds"].items()},
        "Hardware": run["hardware"],
        "Versions": run["versions"],
    }
    return {title: fact_list(facts) for title, facts in lists.items()}


def fact_list(facts: dict) -> list[tuple[str, str]]:
    """Names and values as text."""
    return [(name.replace("_", " "), _text(value)) for name, value in facts.items()]


def _text(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
