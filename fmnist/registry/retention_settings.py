"""Settings that say which of the runs that retraining made stay; `prune` deletes the others."""

from dataclasses import asdict, dataclass

from fmnist.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Retention:
    """Numbers of runs made by retraining that pruning keeps."""

    keep_champions: int = 3
    """Former champions that stay for rollback, the newest."""
    keep_runs: int = 7
    """Other finished candidates that stay, the newest."""


def check_retention(retention: Retention) -> None:
    """Raises UserError that lists all settings with an impossible value."""
    problems = [
        f"{name.replace('_', ' ')} is {value}, expected at least 0"
        for name, value in asdict(retention).items()
        if value < 0
    ]
    UserError.raise_if(problems)
