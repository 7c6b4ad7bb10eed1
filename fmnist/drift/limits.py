"""Settings of the data check, which are flags of the nightly job; it reads no data."""

from dataclasses import dataclass

from fmnist.errors import UserError


@dataclass(frozen=True, kw_only=True)
class DriftLimits:
    """Differences from the champion's data at which a job trains, promotes and scores nothing."""

    max_drift: float | None = None
    """Largest difference (0–1, such as 0.2) from the champion's data; without it, all are told."""
    refuse_unknown: bool = False
    """Also refuse where the champion's run has no statistics of its data to compare with."""


def check_limits(limits: DriftLimits) -> None:
    """Raises UserError that lists the settings with an impossible value."""
    problems = []
    if limits.max_drift is not None and not 0 <= limits.max_drift <= 1:
        problems.append(f"max drift is {limits.max_drift}, expected 0 to 1")
    if limits.refuse_unknown and limits.max_drift is None:
        problems.append("found --refuse-unknown without --max-drift, expected both")
    UserError.raise_if(problems)
