"""The page of one retraining: what became of the challenger, and why, in ten seconds."""

from fmnist.pages import plots
from fmnist.pages.html import Card, Cell, Table, fact_list, render
from fmnist.pages.scores import (
    CLASS_HEADERS,
    SPLITS,
    EvaluationJson,
    Metric,
    class_rows,
    score_cell,
    score_rows,
)
from fmnist.retraining.gate import p_text

TITLES = {
    "promoted": "Promoted",
    "kept": "Kept",
    "unchanged": "Unchanged",
    "overtaken": "Overtaken",
}
NAMES = {"champion": "Champion", "challenger": "Challenger"}
CLASS_SCORES: dict[Metric, str] = {"recall": "recall", "f1": "F1"}
SIDE_BY_SIDE = "In small print: 95% confidence intervals of each alone; their difference is above."


def retraining_page(summary: dict) -> str:
    """One HTML file, complete in itself, of what `fmnist.retraining.run` puts into summary.json."""
    evaluations = summary["evaluations"]
    return render(
        "retraining.html.j2",
        summary=summary,
        title=_title(summary),
        lead=_lead(summary),
        cards=_cards(summary),
        difference=_difference(summary),
        part=SPLITS[summary["held_out"]["part"]],
        scores=_scores(evaluations) if evaluations else None,
        classes=_classes(evaluations) if evaluations else None,
        results=_results(summary),
        fact_lists=_fact_lists(summary),
    )


def _title(summary: dict) -> str:
    return f"{TITLES[summary['outcome']]}: {_conclusion(summary)}"


def _conclusion(summary: dict) -> str:
    decision, outcome = summary["decision"], summary["outcome"]
    if outcome == "unchanged":
        return "the champion has learned from this data already"
    if outcome == "overtaken":
        return "another job moved the champion meanwhile"
    if decision is None:
        first = outcome == "promoted"
        return "the first champion" if first else "the challenger had been rolled back"
    points = f"{100 * abs(decision['difference']):.2f} points"
    if outcome == "promoted":
        side = "above" if decision["difference"] >= 0 else "below"
        return f"the new champion is {points} {side} the old one"
    better = decision["difference"] > 0
    return f"the challenger is {f'only {points} above' if better else f'{points} below'}"


def _lead(summary: dict) -> str:
    sentences = [summary["reason"]]
    before, after = summary["champion"]["before"], summary["champion"]["after"]
    if before and before["run"] != after["run"]:
        sentences.append(f"The champion is now {after['run']}; it was {before['run']}.")
    else:
        sentences.append(f"The champion is {after['run']}.")
    sentences.append(f"It has scored {summary['predictions']['images']:,} images.")
    return " ".join(sentences)


def _cards(summary: dict) -> list[Card]:
    part = SPLITS[summary["held_out"]["part"]]
    cards = [
        Card(f"{NAMES[name]}'s accuracy", *score_cell("accuracy", evaluation))
        for name, evaluation in summary["evaluations"].items()
    ]
    if decision := summary["decision"]:
        low, high = (f"{100 * bound:+.2f}" for bound in decision["interval"])
        points = f"{100 * decision['difference']:+.2f} points"
        cards += [
            Card("Difference", points, f"95% interval {low} to {high}"),
            Card("Chance", p_text(decision["p"]), "of this or more, were neither better"),
            Card("Only the challenger right", f"{decision['gained']:,}", f"{part} images"),
            Card("Only the champion right", f"{decision['lost']:,}", f"{part} images"),
        ]
    else:
        cards.append(Card("Scored", f"{summary['predictions']['images']:,}", "images"))
    return cards


def _difference(summary: dict) -> dict | None:
    decision = summary["decision"]
    if decision is None:
        return None
    low, high = decision["interval"]
    return plots.difference(
        decision["difference"],
        low,
        high,
        margin=summary["gate"]["margin"],
        good=decision["passed"],
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
    rows = [
        (
            classes[0]["name"],
            [
                Cell(f"{classes[0]['support']:,}"),
                *(score_cell(metric, scores) for metric in CLASS_SCORES for scores in classes),
            ],
        )
        for classes in zip(*(each["per_class"] for each in evaluations.values()), strict=True)
    ]
    return Table(caption, ["Class", "Images", *headers], rows)


def _results(summary: dict) -> list[tuple[str, str]]:
    predictions = summary["predictions"]
    pruned = ", ".join(summary["pruned"]) or "none"
    return [
        ("submission", predictions["submission"]),
        ("labels", predictions["labels"]),
        ("champion's run", summary["model"]),
        ("pointer to the champion", summary["pointer"]),
        ("pruned runs", pruned),
    ]


def _fact_lists(summary: dict) -> dict[str, list[tuple[str, str]]]:
    states = {
        f"champion {when}": f"{state['run']} (move {state['counter']})" if state else "none"
        for when, state in summary["champion"].items()
    }
    return {
        "Registry": fact_list(states | {"challenger": summary["challenger"] or "none"}),
        "Gate and retention": fact_list(summary["gate"] | summary["retention"]),
        "Data": fact_list(summary["dataset"]),
        "Recipe": fact_list(summary["config"]),
        "Versions": fact_list(summary["versions"]),
    }
