"""The space that a search draws its cells from, and random draws.

A drawn cell follows from the search's seed and its own number alone, so that there is no state to
lose: a search that is started again draws the same cells, and one of more trials begins with those
of fewer.
"""

import math
import re
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random

from fmnist.comparison.grid.axes import read_axes, read_named
from fmnist.comparison.grid.settings import AXES, MOST_EXPANDED, Setting, find_setting, read_value
from fmnist.errors import UserError, together
from fmnist.run_settings import Training

SEARCH = "search"  # in the id of a comparison that searched
RANGE = re.compile(r"([^=]+)=(.+?)\.\.(.+?)(:log)?")
NUMERIC = [name for name, kind in AXES.items() if kind in (int, float)]
LARGEST = sys.float_info.max
DIGITS = 3  # of a drawn fraction, so that it can be read
DRAWS = 100  # most for each wanted or known cell: in a small space, most draws repeat a cell


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Some values, each as likely as another."""

    values: Sequence[Setting]

    def draw(self, random: Random) -> Setting:
        """Returns one of the values."""
        return random.choice(self.values)

    @property
    def ends(self) -> Sequence[Setting]:
        """The values to check: if these are allowed, so are all others."""
        return self.values


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
        return self.rounded(drawn)

    def rounded(self, number: float) -> Setting:
        """Returns the nearest number of the range that is whole, or has DIGITS digits."""
        rounded = round(number) if self.whole else float(f"{number:.{DIGITS}g}")
        inside = min(max(rounded, self.low), self.high)
        return int(inside) if self.whole else inside

    @property
    def ends(self) -> Sequence[Setting]:
        """The values to check: if these are allowed, so are all others."""
        return self.rounded(self.low), self.rounded(self.high)


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """All cells that a search can draw: the base, with a value of each domain."""

    base: Training
    domains: Mapping[str, Choice | Range]
    seed: int

    def draw(self, number: int) -> Training:
        """Returns a cell; a setting's value does not depend on which others are searched."""
        return self.cell(
            {
                name: domain.draw(Random(f"{self.seed} {number} {name}"))
                for name, domain in self.domains.items()
            }
        )

    def draw_new(self, count: int, known: Collection[Training] = ()) -> list[Training]:
        """Returns the first so many drawn cells that are not known; fewer if there are no more."""
        new: dict[Training, None] = {}
        for number in range(DRAWS * (count + len(known))):
            if len(new) == count:
                break
            if (cell := self.draw(number)) not in known:
                new[cell] = None
        return list(new)

    def draw_all(self, trials: int) -> list[Training]:
        """Returns as many drawn cells; raises UserError where there are not so many."""
        if (found := len(cells := self.draw_new(trials))) < trials:
            raise UserError(
                f"trials is {trials}, expected at most {found}: no more different cells were drawn"
            )
        return cells

    def cell(self, values: Mapping[str, Setting]) -> Training:
        """Returns the cell with these values."""
        return replace(self.base, **values)  # type: ignore[arg-type]

    def ends(self) -> list[Training]:
        """Returns the lowest cell, with each end of each domain: if they are allowed, all are."""
        lowest = {name: domain.ends[0] for name, domain in self.domains.items()}
        cells = (
            self.cell({**lowest, name: end})
            for name, domain in self.domains.items()
            for end in domain.ends
        )
        return list(dict.fromkeys([self.cell(lowest), *cells]))

    def changed(self, change: Callable[[Training], Training]) -> "SearchSpace":
        """Returns the space whose choices, and all that is not searched, were changed in each cell.

        Raises UserError that lists the mistakes that `change` finds in cells at an end.
        """
        lowest, *others = self.ends()
        base, *_ = together(*(partial(change, cell) for cell in (lowest, *others)))
        domains = dict(self.domains)
        for name, domain in self.domains.items():
            if isinstance(domain, Choice):
                cells = (change(replace(lowest, **{name: value})) for value in domain.values)  # type: ignore[arg-type]
                values = dict.fromkeys(getattr(cell, name) for cell in cells)
                domains[name] = Choice(values=list(values))
        return replace(self, base=base, domains=domains)


def read_space(
    base: Training, *, axes: Sequence[str], ranges: Sequence[str], trials: int, seed: int
) -> tuple[SearchSpace, list[Training]]:
    """Returns the space of axes and of ranges, and as many drawn cells of it as `trials`.

    Axes are choices unless they have one value. A range is text such as `batch=32..512` or
    `learning_rate=1e-4..1e-2:log`. Raises UserError that lists all mistakes, or where there are not
    as many different cells.
    """
    choices, problems = read_axes(axes)
    fixed = {name: values[0] for name, values in choices.items() if len(values) == 1}
    domains: dict[str, Choice | Range] = {
        name: Choice(values=values) for name, values in choices.items()
    }
    twice = "found values of {} twice, expected one axis or one range"
    problems += read_named(ranges, _read_range, domains, twice=twice)
    if not 1 <= trials <= MOST_EXPANDED:
        problems.append(f"trials is {trials}, expected 1 to {MOST_EXPANDED}")
    if not axes and not ranges:
        problems.append("found nothing to search, expected --range or --axis")
    UserError.raise_if(problems)
    # In the order of AXES: what Optuna suggests must not depend on the order of the flags.
    searched = {name: domains[name] for name in AXES if name in domains and name not in fixed}
    space = SearchSpace(base=replace(base, **fixed), domains=searched, seed=seed)  # type: ignore[arg-type]
    return space, space.draw_all(trials)


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
    low, high = together(*(partial(read_value, name, end) for end in ends))
    assert isinstance(low, int | float) and isinstance(high, int | float), NUMERIC
    if not (-LARGEST <= low < high <= LARGEST):  # nor if one of them is not a number
        raise UserError(
            f"range is {text!r}, expected a finite range from a lower to a higher number"
        )
    if found[4] and low <= 0:
        raise UserError(f"range is {text!r}, expected a positive lower end for a logarithmic range")
    return name, Range(
        low=float(low), high=float(high), log=bool(found[4]), whole=AXES[name] is int
    )
