"""The data check for people: a line for the log, and a table for the page."""

from fmnist.drift.check import DataCheck, DataDifference
from fmnist.drift.measures import LARGE, MEDIUM, SMALL, describe_size
from fmnist.pages.html import Cell, Table
from fmnist.retraining.gate import format_p

CAPTION = (
    "Labels: Jensen–Shannon distance and chi-squared test; numbers: Kolmogorov–Smirnov statistic "
    "and test. p: the probability of such a difference if there were none, times the number of "
    "tests. Before and now: the median, or the share of the class that has changed most."
)

SIZES = (
    f"Differences go from 0 to 1: below {SMALL} they are negligible, from {MEDIUM} medium, "
    f"from {LARGE} large."
)


def data_check_line(check: DataCheck) -> str:
    """Says in one line what was compared, and the largest difference."""
    parts = [f"data check against {check.run}:"]
    if largest := check.largest:
        parts.append(
            f"largest difference {largest.size:.2f} ({describe_size(largest.size)}), "
            f"{largest.name}: {largest.before} before, {largest.now} now"
        )
    return " ".join([*parts, *check.unknown])


def data_check_table(check: DataCheck) -> Table:
    """Makes a row for each comparison, the largest differences first."""
    ordered = sorted(check.differences, key=lambda each: -each.size)
    headers = ["Compared", "Champion's data", "New data", "Difference", "Test"]
    return Table(CAPTION, headers, [(_name(each), _cells(each)) for each in ordered])


def _name(difference: DataDifference) -> str:
    return difference.name[:1].upper() + difference.name[1:]


def _cells(difference: DataDifference) -> list[Cell]:
    return [
        Cell(difference.before),
        Cell(difference.now),
        Cell(f"{difference.size:.3f}", describe_size(difference.size)),
        Cell(format_p(difference.p)),
    ]
