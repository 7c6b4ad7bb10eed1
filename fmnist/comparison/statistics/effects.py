"""Measures what each setting does in a grid, in pairs of cells that differ in nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fmnist.comparison.facts import ComparedCell, Comparison, Split
from fmnist.comparison.grid.settings import Setting, differing_settings, value_text
from fmnist.comparison.statistics.significance import Difference, paired_differences

BySeed = Mapping[int, float]


@dataclass(frozen=True, kw_only=True)
class Effect:
    """A value of a setting, compared with the first cell's value, `reference`.

    `difference` is the mean accuracy with `value` minus that with `reference`, over `pairs` of
    cells that have all other settings in common. `value` is text with the setting's name.
    """

    value: str
    reference: str
    pairs: int
    difference: Difference


def setting_effects(comparison: Comparison, basis: Split) -> list[Effect]:
    """Returns an effect for each value of each setting, but for the values of the first cell.

    There are none where a single setting differs: the ranking shows the same. Nor is there one of a
    value without a pair. A cell of which a run was stopped early is in no pair. A seed counts where
    all pairs have it, so that its mean is over the same cells on both sides.
    """
    cells = comparison.cells
    differing = differing_settings([cell.settings for cell in cells])
    if len(differing) < 2:
        return []
    accuracies = {tuple(cell.settings.values()): cell.accuracies(basis) for cell in cells}
    values = [
        (name, value)
        for name in differing
        for value in dict.fromkeys(cell.settings[name] for cell in cells)
        if value != cells[0].settings[name]
    ]
    pairs = {
        value_text(name, value, comparison.ablated, unlabelled=()): _pairs(
            cells, accuracies, name, value
        )
        for name, value in values
    }
    differences = paired_differences({text: _means(found) for text, found in pairs.items()})
    return [
        Effect(
            value=text,
            reference=value_text(name, cells[0].settings[name], unlabelled=[name]),
            pairs=len(pairs[text]),
            difference=differences[text],
        )
        for (name, _), text in zip(values, pairs, strict=True)
        if pairs[text]
    ]


def _pairs(
    cells: Sequence[ComparedCell],
    accuracies: Mapping[tuple[Setting, ...], BySeed],
    name: str,
    value: Setting,
) -> list[tuple[BySeed, BySeed]]:
    """Returns the accuracies with the value and with the first cell's, of each pair of cells."""
    reference = cells[0].settings[name]
    found = []
    for cell in cells:
        if cell.settings[name] == value:
            other = tuple({**cell.settings, name: reference}.values())
            found.append((accuracies[tuple(cell.settings.values())], accuracies.get(other, {})))
    return [(ours, theirs) for ours, theirs in found if ours.keys() & theirs.keys()]


def _means(pairs: Sequence[tuple[BySeed, BySeed]]) -> tuple[BySeed, BySeed]:
    """Returns the mean over all pairs of each side, for the seeds that all of them have."""
    seeds = set.intersection(*(set(ours) & set(theirs) for ours, theirs in pairs)) if pairs else {}
    ours, theirs = (
        {seed: sum(pair[side][seed] for pair in pairs) / len(pairs) for seed in seeds}
        for side in (0, 1)
    )
    return ours, theirs
