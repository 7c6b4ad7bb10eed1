"""States the result of a comparison in words, for its page and for its Markdown."""

from typing import NamedTuple

from fmnist.comparison.facts import Comparison
from fmnist.comparison.grid.search import SEARCH
from fmnist.comparison.grid.settings import WITHOUT
from fmnist.comparison.pages import paper, tables
from fmnist.comparison.statistics.effects import setting_effects
from fmnist.comparison.statistics.ranking import RankedCell, rank_cells
from fmnist.comparison.statistics.significance import LEVEL
from fmnist.pages import markdown
from fmnist.pages.html import FactList, Table, fact_list
from fmnist.pages.markdown import escaped
from fmnist.pages.scores import SPLITS


class Headline(NamedTuple):
    """The result of a comparison: a title, and sentences on how certain it is."""

    title: str
    sentences: list[str]


def comparison_markdown(comparison: Comparison) -> str:
    """Returns the sentences and tables of the page, without its plots."""
    ranked = rank_cells(comparison)
    headline = make_headline(comparison, ranked)
    parts = [f"# {escaped(headline.title)}", escaped(" ".join(headline.sentences))]
    parts += [
        "## All cells",
        markdown.table(tables.ranking(ranked)),
        escaped(method_note(comparison, ranked)),
    ]
    if found := effects_table(comparison, ranked):
        parts += ["## What each setting does", markdown.table(found), escaped(found.caption)]
    if unfinished := tables.unfinished(comparison):
        parts += ["## Did not finish", markdown.bullets(unfinished)]
    parts += ["## Beside the report", escaped(paper_note(comparison, ranked))]
    for table in paper_tables(comparison, ranked):
        parts += [f"### {table.caption}", markdown.table(table)]
    parts += ["## How it was made", markdown.code_block(comparison.command)]
    for title, pairs in provenance(comparison).items():
        parts += [f"**{title}**", markdown.bullets(pairs)]
    return "\n\n".join(parts) + "\n"


def effects_table(comparison: Comparison, ranked: list[RankedCell]) -> Table | None:
    """What each setting does; None for a search, whose cells form pairs by chance alone."""
    if comparison.name == SEARCH:
        return None
    basis = ranked[0].basis
    return tables.effects(setting_effects(comparison, basis), basis)


def method_note(comparison: Comparison, ranked: list[RankedCell]) -> str:
    """Says how the cells were ranked, which differences count, and what was left out."""
    part = SPLITS[ranked[0].basis]
    without = "".join(
        f" Without {name.replace('_', ' ')}: {WITHOUT[name]}." for name in comparison.ablated
    )
    return (
        f"Cells are ranked by the mean {part} accuracy of their seeds; the test images have no "
        "part in any choice. More than noise: a two-sided paired t-test against the best cell over "
        f"the seeds that both have, Holm-corrected over all cells, p < {LEVEL}. The best was "
        "picked by the same numbers, so take a p-value near that with care. It is the noise of "
        f"weights and order: the {part} images are the same for every seed.{without}"
    )


def make_headline(comparison: Comparison, ranked: list[RankedCell]) -> Headline:
    """Names the best cell, and says how far it is above the others and above the report."""
    best = ranked[0]
    if not best.values:
        return Headline("No run came to an end", ["What happened to each is below."])
    accuracy = best.accuracy
    seeds = f"Mean of {accuracy.n} seeds" if accuracy.n > 1 else "One seed"
    deviation = tables.spread_texts(accuracy, "share")[1]
    sentences = [f"{seeds}{f', {deviation} points' if deviation else ''}."]
    others = [row for row in ranked[1:] if row.values]
    if others:
        sentences.append(_gap_sentence(best, others[0]))
    count = sum(bool(other.difference and other.difference.behind) for other in others)
    if len(others) > 1 and count:
        sentences.append(f"Behind it by more than noise: {count} of the {len(others)} other cells.")
    result = paper.find_result(best.cell)
    if result and has_paper_labels(comparison) and best.basis == "validation":
        sentences.append(
            f"The report has {result.validation_accuracy:.2%} for this cell, after "
            f"{paper.SETTINGS['epochs']} epochs; here it had {best.epochs:,}."
        )
    return Headline(
        f"{best.label} is best: {accuracy.mean:.2%} of the {SPLITS[best.basis]} images right",
        sentences,
    )


def _gap_sentence(best: RankedCell, second: RankedCell) -> str:
    difference, over = second.difference, ""
    gap = best.accuracy.mean - second.accuracy.mean
    if difference and difference.mean is not None:
        gap = difference.mean
        if difference.n < max(best.accuracy.n, second.accuracy.n):
            over = ", over the seeds that both have"
    side, significance = "above" if gap >= 0 else "below", tables.significance_text(difference)
    return f"{100 * abs(gap):.2f} points {side} the next, {second.label}{over} ({significance})."


def has_paper_labels(comparison: Comparison) -> bool:
    """True if the task has the labels of the report, so that accuracies can be compared."""
    return comparison.task.name == paper.TASK


def paper_tables(comparison: Comparison, ranked: list[RankedCell]) -> list[Table]:
    """Returns our results beside the report's; no tables if the labels differ."""
    return paper.paper_tables(ranked) if has_paper_labels(comparison) else []


def paper_note(comparison: Comparison, ranked: list[RankedCell]) -> str:
    """Says how our numbers and the report's can be compared, or why they cannot."""
    if not has_paper_labels(comparison):
        return (
            f"The report's numbers are on the labels of the task {paper.TASK}: beside those of "
            f"{comparison.task.name} they would say nothing, and are left out."
        )
    if not paper.paper_tables(ranked):
        return "None of these cells is in the report."
    differing = [
        f"{name} {value} (the report {paper.SETTINGS[name.replace(' ', '_')]})"
        for name, value in fact_list(
            {
                name: value
                for name, value in comparison.config.items()
                if value != paper.SETTINGS.get(name, value)
            }
        )
    ]
    settings = f"Other than the report: {', '.join(differing)}. " if differing else ""
    return (
        f"{settings}Ours over the report's, and in brackets by how much ours is above it; ± over "
        "seeds. Accuracies in percent and points, losses in nats. The report had one run of each, "
        "timed on a Colab GPU. Its figures of resnet and inception are lost: ours are "
        "reconstructions that match its numbers of parameters (cnn and inception with ten outputs, "
        "dense and resnet with five). It names the learning rate 0.001 for its activations and "
        "0.0001 for its optimizers, yet the row that both share is the same: here 0.0001 for both."
    )


def provenance(comparison: Comparison) -> dict[str, FactList]:
    """Returns what the comparison was made of and with, by heading."""
    seeds = ", ".join(map(str, comparison.seeds))
    return {
        "Configuration of every cell": fact_list({**comparison.config, "seeds": seeds}),
        "Data": fact_list(comparison.dataset),
        "Hardware": fact_list(comparison.hardware),
        "Versions": fact_list(comparison.versions),
    }
