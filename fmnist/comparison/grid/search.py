"""Draws the cells of a random search.

A cell follows from the search's seed and its own number alone, so that there is no state to lose: a
search that is started again draws the same cells, and one of more trials begins with those of
fewer.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Protocol

from fmnist.comparison.grid.axes import read_axes, read_named
from fmnist.comparison.grid.cells import MOST_EXPANDED, Grid
from fmnist.comparison.grid.settings import AXES, Setting, find_setting, read_value
from fmnist.errors import UserError, together
from fmnist.run_settings import Training

RANGE = re.compile(r"([^=]+)=(.+?)\.\.(.+?)(:log)?")
NUMERIC = [name for name, kind in AXES.items() if kind in (int, float)]
DIGITS = 3  # of a drawn fraction, so that it can be read
DRAWS = 100  # for each trial; with fewer different cells than trials, most draws are cells again


class Domain(Protocol):
    """The values of which one is drawn."""

    def draw(self, random: Random) -> Setting: ...


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Some values, each as likely as another."""

    values: Sequence[Setting]

    def draw(self, random: Random) -> Setting:
        """Returns one of the values."""
        return random.choice(self.values)


@dataclass(frozen=True, kw_only=True)
class Range:
    """Numbers from `low` to `high`, both among them; with `log`, each factor is as likely."""

    low: float
    high: float
    log: bool
    whole: bool

    def draw(self, random: Random) -> Setting:
        """Returns one of the numbers."""
        if self.log:
            drawn = math.exp(random.uniform(math.log(self.low), math.log(self.high)))
        elif self.whole:
            drawn = random.randint(int(self.low), int(self.high))
        else:
            drawn = random.uniform(self.low, self.high)
        rounded = round(drawn) if self.whole else float(f"{drawn:.{DIGITS}g}")
        inside = min(max(rounded, self.low), self.high)
        return int(inside) if self.whole else inside


def random_grid(
    base: Training, *, axes: Sequence[str], ranges: Sequence[str], trials: int, seed: int
) -> Grid:
    """Returns `trials` different cells, drawn from axes, which are choices, and from ranges.

    A range is text such as `learning_rate=1e-4..1e-2:log` or `batch=32..512`. Raises UserError that
    lists all mistakes, or where there are not as many different cells.
    """
    choices, problems = read_axes(axes)
    domains: dict[str, Domain] = {name: Choice(values=found) for name, found in choices.items()}
    twice = "found values of {} twice, expected one axis or one range"
    problems += read_named(ranges, _read_range, domains, twice=twice)
    if not 1 <= trials <= MOST_EXPANDED:
        problems.append(f"trials is {trials}, expected 1 to {MOST_EXPANDED}")
    if not axes and not ranges:
        problems.append("found nothing to search, expected --range or --axis")
    UserError.raise_if(problems)
    cells: dict[Training, None] = {}
    for number in range(DRAWS * trials):
        cells[_draw(base, domains, seed, number)] = None
        if len(cells) == trials:
            return Grid(cells=list(cells))
    raise UserError(f"trials is {trials}, but {len(cells)} different cells are all that was drawn")


def _draw(base: Training, domains: Mapping[str, Domain], seed: int, number: int) -> Training:
    """Returns a cell; a setting's value does not depend on which others are searched."""
    values = {
        name: domain.draw(Random(f"{seed} {number} {name}")) for name, domain in domains.items()
    }
    return replace(base, **values)  # type: ignore[arg-type]


def _read_range(text: str) -> tuple[str, Range]:
    found = RANGE.fullmatch(text)
    if not found:
        raise UserError(
            f"range is {text!r}, expected NAME=LOW..HIGH or NAME=LOW..HIGH:log, such as "
            "learning_rate=1e-4..1e-2:log"
        )
    name = find_setting(found[1], AXES, "searched")
    if name not in NUMERIC:
        raise UserError(f"{name} has no range; expected --axis {name}=… with its values")
    ends = found[2].strip(), found[3].strip()
    low, high = map(float, together(*(partial(read_value, name, end) for end in ends)))
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UserError(
            f"range is {text!r}, expected a finite range from a lower to a higher number"
        )
    if found[4] and low <= 0:
        raise UserError(f"range is {text!r}, expected a positive lower end for a logarithmic range")
    return name, Range(low=low, high=high, log=bool(found[4]), whole=AXES[name] is int)
