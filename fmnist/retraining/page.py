"""The page of one retraining: whether the challenger was promoted, and why."""

from collections.abc import Sequence
from dataclasses import asdict

from fmnist.pages import plots
from fmnist.pages.html import Card, Cell, FactList, Table, fact_list, render
from fmnist.pages.scores import (
    CLASS_HEADERS,
    SPLITS,
    ClassScoresJson,
    EvaluationJson,
    Metric,
    class_rows,
    score_cell,
    score_rows,
)
from fmnist.retraining.data_check_text import SIZES, data_check_table
from fmnist.retraining.gate import format_p, side_of
from fmnist.retraining.result import ChampionVersion, Outcome
from fmnist.retraining.summary import RetrainingSummary

TITLES: dict[Outcome, str] = {
    "promoted": "Promoted",
    "kept": "Kept",
    "unchanged": "Unchanged",
    "overtaken": "Overtaken",
    "drifted": "Drifted",
}
NAMES = {"champion": "Champion", "challenger": "Challenger"}
CLASS_SCORES: dict[Metric, str] = {"recall": "recall", "f1": "F1"}
SIDE_BY_SIDE = "In small print: 95% confidence intervals of each alone; their difference is above."


def retraining_page(summary: RetrainingSummary) -> str:
    """Returns one HTML file, complete in itself."""
    evaluations = summary.evaluations
    return render(
        "retraining.html.j2",
        summary=summary,
        title=_title(summary),
        lead=_lead(summary),
        cards=_cards(summary),
        difference=_difference(summary),
        part=SPLITS[summary.held_out.part],
        scores=_scores(evaluations) if evaluations else None,
        classes=_classes(evaluations) if evaluations else None,
        data_check=data_check_table(summary.data_check) if summary.data_check else None,
        sizes=SIZES,
        results=_results(summary),
        fact_lists=_fact_lists(summary),
    )


def _title(summary: RetrainingSummary) -> str:
    return f"{TITLES[summary.outcome]}: {_conclusion(summary)}"


def _conclusion(summary: RetrainingSummary) -> str:
    decision, outcome = summary.decision, summary.outcome
    if outcome == "unchanged":
        return "the champion has learned from this data already"
    if outcome == "drifted":
        return "the data differ too much from the champion's"
    if outcome == "overtaken":
        return "another job moved the champion meanwhile"
    if decision is None:
        first = outcome == "promoted"
        return "the first champion" if first else "the challenger had been rolled back"
    points = f"{100 * abs(decision.difference):.2f} points"
    if outcome == "promoted":
        return f"the new champion is {points} {side_of(decision.difference)} the old one"
    only = "only " if decision.difference > 0 else ""
    return f"the challenger is {only}{points} {side_of(decision.difference)}"


def _lead(summary: RetrainingSummary) -> str:
    sentences = [summary.reason]
    before, after = summary.champion.before, summary.champion.after
    if before and before.run != after.run:
        sentences.append(f"The champion is now {after.run}; it was {before.run}.")
    else:
        sentences.append(f"The champion is {after.run}.")
    if summary.predictions:
        sentences.append(f"It has scored {summary.predictions.images:,} images.")
    else:
        sentences.append("Nothing was trained, promoted or scored.")
    return " ".join(sentences)


def _cards(summary: RetrainingSummary) -> list[Card]:
    part = SPLITS[summary.held_out.part]
    cards = [
        Card(f"{NAMES[name]}'s accuracy", *score_cell("accuracy", evaluation))
        for name, evaluation in summary.evaluations.items()
    ]
    if decision := summary.decision:
        low, high = (f"{100 * bound:+.2f}" for bound in decision.interval)
        points = f"{100 * decision.difference:+.2f} points"
        cards += [
            Card("Difference", points, f"95% interval {low} to {high}"),
            Card("Chance", format_p(decision.p), "of this or more, were neither better"),
            Card("Only the challenger right", f"{decision.gained:,}", f"{part} images"),
            Card("Only the champion right", f"{decision.lost:,}", f"{part} images"),
        ]
    elif summary.predictions:
        cards.append(Card("Scored", f"{summary.predictions.images:,}", "images"))
    largest = summary.data_check.largest if summary.data_check else None
    if largest:
        cards.append(Card("Largest drift", f"{largest.size:.2f}", f"{largest.name}"))
    return cards


def _difference(summary: RetrainingSummary) -> plots.Figure | None:
    decision = summary.decision
    if decision is None:
        return None
    low, high = decision.interval
    return plots.difference(
        decision.difference,
        low,
        high,
        margin=summary.gate.margin,
        good=decision.passed,
    )


def _scores(evaluations: dict[str, EvaluationJson]) -> Table:
    caption = SIDE_BY_SIDE if len(evaluations) > 1 else "In small print: 95% confidence intervals."
    return Table(caption, ["Score", *map(NAMES.__getitem__, evaluations)], score_rows(evaluations))


def _classes(evaluations: dict[str, EvaluationJson]) -> Table:
    caption = "Each class against the rest; in small print: 95% confidence intervals."
    if len(evaluations) == 1:
        (evaluation,) = evaluations.values()
        return Table(caption, CLASS_HEADERS, class_rows(evaluation))
    headers = [
        f"{NAMES[name]}'s {title}" for title in CLASS_SCORES.values() for name in evaluations
    ]
    per_class = zip(*(each["per_class"] for each in evaluations.values()), strict=True)
    rows = [(scores[0]["name"], _class_cells(scores)) for scores in per_class]
    return Table(caption, ["Class", "Images", *headers], rows)


def _class_cells(models: Sequence[ClassScoresJson]) -> list[Cell]:
    """Number of images of a class, and each score of the class side by side for all models."""
    images = Cell(f"{models[0]['support']:,}")
    return [images, *(score_cell(metric, scores) for metric in CLASS_SCORES for scores in models)]


def _results(summary: RetrainingSummary) -> FactList:
    predictions = summary.predictions
    pruned = ", ".join(summary.pruned) or "none"
    return [
        ("submission", predictions.submission if predictions else "none"),
        ("labels", predictions.labels if predictions else "none"),
        ("champion's run", summary.model),
        ("pointer to the champion", summary.pointer),
        ("pruned runs", pruned),
    ]


def _fact_lists(summary: RetrainingSummary) -> dict[str, FactList]:
    registry = {
        "champion before": _version_text(summary.champion.before),
        "champion after": _version_text(summary.champion.after),
        "challenger": summary.challenger or "none",
    }
    return {
        "Registry": fact_list(registry),
        "Gate and retention": fact_list(
            asdict(summary.gate) | asdict(summary.limits) | asdict(summary.retention)
        ),
        "Data": fact_list(summary.dataset),
        "Recipe": fact_list(summary.config),
        "Versions": fact_list(summary.versions),
    }


def _version_text(version: ChampionVersion | None) -> str:
    return f"{version.run} (move {version.counter})" if version else "none"
