"""Tables for a terminal: what is in a storage root, in 80 columns."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fmnist.catalog.diff import PartDiff, RunDiff
from fmnist.catalog.runs import FoundRun
from fmnist.comparison.statistics.significance import Difference
from fmnist.pages.scores import PLAIN_NUMBERS, score_text
from fmnist.runs.ids import run_folder
from fmnist.storage.manifest import Manifest

NONE = "–"
CHAMPION = "*"  # the mark of one in a table
DATE = len("2026-01-31")  # of a time in ISO 8601


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns lines whose columns are as wide as their longest cell, aligned to the left."""
    cells = [list(headers), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )
    return "\n".join(lines)


def runs_table(runs: Sequence[FoundRun]) -> str:
    """Returns one line a run, and below what the marks mean and what is wrong with damaged ones."""
    headers = ("run", "", "finished", "valid.", "test", "epochs", "seed")
    lines = [table(headers, [_row(run) for run in runs])]
    if any(run.champion for run in runs):
        lines.append(f"{CHAMPION} champion")
    lines += [f"damaged: {run.problem}" for run in runs if run.problem]
    return "\n".join(lines)


def run_text(run: FoundRun, root: str) -> str:
    """Returns the scores, the settings and the files of a run in the storage root `root`."""
    at = f" at {run.finished_at}" if run.finished_at else ""
    champion = ", champion" if run.champion else ""
    lines = [f"{run.id}: {run.state}{at}{champion}"]
    if run.problem:
        lines.append(run.problem)
    if run.manifest is None:
        return "\n".join(lines)
    parts = [part for part in ("test", "validation", "train") if run.score(part) is not None]
    metrics = ("accuracy", "loss")
    scores = [[part, *(_number(run.score(part, name), name) for name in metrics)] for part in parts]
    lines += ["", table(("scores", *metrics), scores), ""]
    lines += [table(("setting", "value"), _facts(run))]
    command = run.manifest.details.get("command", NONE)
    lines += ["", textwrap.fill(f"command: {command}", 80, subsequent_indent="  "), ""]
    lines += [_files(run.manifest), ""]
    places = sorted(run.manifest.names_by_folder(f"{root}/{run_folder(run.id)}"))
    return "\n".join([*lines, f"files in {', '.join(places)}"])


def diff_text(a: FoundRun, b: FoundRun, diff: RunDiff) -> str:
    """Returns what differs between two runs."""
    lines = [f"a  {a.id}", f"b  {b.id}", ""]
    settings = [(name, _short(x, 24), _short(y, 24)) for name, (x, y) in diff.settings.items()]
    lines += [table(("setting", "a", "b"), settings) if settings else "no setting differs", ""]
    for name, part in diff.parts.items():
        lines += [_part_text(name, part), ""]
    return "\n".join([*lines, _seeds_text(diff.seeds, diff.seeds_part)])


def _row(run: FoundRun) -> tuple[str, ...]:
    scores = (_number(run.score(part), "accuracy") for part in ("validation", "test"))
    settings = (str(run.config.get(name, NONE)) for name in ("epochs", "seed"))
    state = run.finished_at[:DATE] if run.finished_at else run.state
    return (run.id, CHAMPION if run.champion else "", state, *scores, *settings)


def _facts(run: FoundRun) -> list[tuple[str, str]]:
    assert run.manifest
    facts = dict(run.config)
    data = run.manifest.details.get("dataset")
    if isinstance(data, dict):
        facts |= {"data": data.get("source"), "fingerprint": data.get("fingerprint")}
    return [(name, _short(value, 58)) for name, value in facts.items()]


def _files(manifest: Manifest) -> str:
    rows = [(name, f"{file.size:,} bytes") for name, file in manifest.files.items()]
    return table(("file", "size"), rows)


def _part_text(name: str, part: PartDiff) -> str:
    scores = table((name, "a", "b", "b − a"), _pairs(part.scores))
    recall = table(("recall", "a", "b", "b − a"), _pairs(part.recall, metric="recall"))
    if part.most_p is None:
        test = "not evaluated on the same images, so no paired test"
    elif part.most_p < 1e-4:
        test = "McNemar's test: p < 0.0001, whichever images they have wrong"
    else:
        test = f"McNemar's test: p is at most {part.most_p:.2g}, whichever images they have wrong"
    return "\n".join([scores, test, "", recall])


def _pairs(
    pairs: Mapping[str, tuple[float | None, float | None]], metric: str | None = None
) -> list[tuple[str, str, str, str]]:
    rows = []
    for name, (a, b) in pairs.items():
        kind = metric or name
        gap = NONE if a is None or b is None else f"{100 * (b - a):+.2f} points"
        if a is not None and b is not None and kind in PLAIN_NUMBERS:
            gap = f"{b - a:+.4f}"
        rows.append((name, _number(a, kind), _number(b, kind), gap))
    return rows


def _seeds_text(seeds: Difference, part: str) -> str:
    if seeds.mean is None or seeds.n < 2:
        return "over seeds: no test, since fewer than two seeds have both settings"
    p = "no test, since it is the same for each" if seeds.p is None else f"p = {seeds.p:.2g}"
    gap = f"{100 * seeds.mean:+.2f} points of {part} accuracy"
    return f"over {seeds.n} seeds: b − a is {gap} (paired t-test: {p})"


def _number(value: float | None, metric: str) -> str:
    return NONE if value is None else score_text(metric, value)


def _short(value: Any, width: int) -> str:
    text = str(value)
    return text if len(text) <= width else f"{text[: width - 1]}…"
