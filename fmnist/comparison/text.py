"""The result of a comparison of cells in words: what its page and its Markdown both say."""

import re
from typing import NamedTuple

from fmnist.comparison import paper, paper_tables, tables
from fmnist.comparison.ranking import RankedCell, rank_cells
from fmnist.comparison.significance import LEVEL
from fmnist.pages.html import Cell, Table, fact_list
from fmnist.pages.scores import SPLITS


class Conclusion(NamedTuple):
    """What there is to say in ten seconds."""

    title: str
    sentences: list[str]


def comparison_markdown(comparison: dict) -> str:
    """The same conclusion and tables as on the page, without plots."""
    ranked = rank_cells(comparison)
    conclusion = conclude(comparison, ranked)
    parts = [f"# {_escaped(conclusion.title)}", _escaped(" ".join(conclusion.sentences))]
    parts += ["## All cells", _markdown(tables.ranking(ranked)), _escaped(noise(ranked))]
    if not_done := tables.unfinished(comparison):
        parts += ["## Did not finish", _list(not_done)]
    parts += ["## Beside the report", _escaped(beside_note(comparison, ranked))]
    for table in beside_report(comparison, ranked):
        parts += [f"### {table.caption}", _markdown(table)]
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", comparison["command"])), default=0))
    parts += ["## How it was made", f"{fence}\n{comparison['command']}\n{fence}"]
    for title, pairs in fact_lists(comparison).items():
        parts += [f"**{title}**", _list(pairs)]
    return "\n\n".join(parts) + "\n"


def noise(ranked: list[RankedCell]) -> str:
    """How the cells were ranked and told from each other."""
    part = SPLITS[ranked[0].basis]
    return (
        f"Cells are ranked by the mean {part} accuracy of their seeds; the test images have no "
        "part in any choice. More than noise: a two-sided paired t-test against the best cell over "
        f"the seeds that both have, Holm-corrected over all cells, p < {LEVEL}. The best was "
        "picked by the same numbers, so take a p-value near that with care. It is the noise of "
        f"weights and order: the {part} images are the same for every seed."
    )


def _markdown(table: Table) -> str:
    rows = [
        "| " + " | ".join([_escaped(name), *map(_markdown_cell, cells)]) + " |"
        for name, cells in table.rows
    ]
    header = "| " + " | ".join(map(_escaped, table.headers)) + " |"
    return "\n".join([header, "|---" + "|---:" * (len(table.headers) - 1) + "|", *rows])


def _markdown_cell(cell: Cell) -> str:
    small = f"<br><sub>{_escaped(cell.small)}</sub>" if cell.small else ""
    return _escaped(cell.value) + small


def _list(pairs: list[tuple[str, str]]) -> str:
    return "\n".join(f"- {_escaped(name)}: {_escaped(value)}" for name, value in pairs)


def _escaped(text: str) -> str:
    """On one line, and as it is: no markup, no HTML."""
    one_line = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*_\[\]|#~])", r"\\\1", one_line)


def conclude(comparison: dict, ranked: list[RankedCell]) -> Conclusion:
    best = ranked[0]
    if not best.values:
        return Conclusion("No run came to an end", ["What happened to each is below."])
    accuracy = best.accuracy
    seeds = f"Mean of {accuracy.n} seeds" if accuracy.n > 1 else "One seed"
    spread = tables.texts(accuracy, "share")[1]
    sentences = [f"{seeds}{f', {spread} points' if spread else ''}."]
    others = [standing for standing in ranked[1:] if standing.values]
    if others:
        sentences.append(_lead(best, others[0]))
    clear = sum(bool(other.difference and other.difference.clear) for other in others)
    if len(others) > 1 and clear:
        sentences.append(f"Behind it by more than noise: {clear} of the {len(others)} other cells.")
    result = paper.find(best.cell)
    if result and has_reports_labels(comparison) and best.basis == "validation":
        sentences.append(
            f"The report has {result.validation_accuracy:.2%} for this cell, after "
            f"{paper.SETTINGS['epochs']} epochs; here it had {epochs(best):,}."
        )
    return Conclusion(
        f"{best.label} is best: {accuracy.mean:.2%} of the {SPLITS[best.basis]} images right",
        sentences,
    )


def _lead(best: RankedCell, second: RankedCell) -> str:
    gap = best.accuracy.mean - second.accuracy.mean
    worth = tables.verdict(second.difference)
    return f"{100 * gap:.2f} points above the next, {second.label} ({worth})."


def epochs(standing: RankedCell) -> int:
    return max(len(run["history"]) for run in standing.cell["runs"])


def has_reports_labels(comparison: dict) -> bool:
    return comparison["task"]["name"] == paper.TASK


def beside_report(comparison: dict, ranked: list[RankedCell]) -> list[Table]:
    return paper_tables.beside_report(ranked) if has_reports_labels(comparison) else []


def beside_note(comparison: dict, ranked: list[RankedCell]) -> str:
    """What must be known to read our numbers beside the report's, or why there are none."""
    if not has_reports_labels(comparison):
        return (
            f"The report's numbers are on the labels of the task {paper.TASK}: beside those of "
            f"{comparison['task']['name']} they would say nothing, and are left out."
        )
    if not paper_tables.beside_report(ranked):
        return "None of these cells is in the report."
    config = comparison["config"]
    differing = [
        f"{name} {config[name]:,} (the report {theirs:,})"
        for name, theirs in paper.SETTINGS.items()
        if name in config and config[name] != theirs
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


def fact_lists(comparison: dict) -> dict[str, list[tuple[str, str]]]:
    seeds = ", ".join(map(str, comparison["seeds"]))
    return {
        "Configuration of every cell": fact_list(comparison["config"] | {"seeds": seeds}),
        "Data": fact_list(comparison["dataset"]),
        "Hardware": fact_list(comparison["hardware"]),
        "Versions": fact_list(comparison["versions"]),
    }
