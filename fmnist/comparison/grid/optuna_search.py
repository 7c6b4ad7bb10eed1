"""Suggests cells with Optuna, from the accuracies of those before them.

A round of cells is suggested when all cells before it have ended, by a new sampler whose seed is
the round's, which is told these accuracies in the order of the cells. So a suggestion does not
depend on how many runs train at once, on which of them ends first, or on whether the job was killed
in between: nothing but the published runs is needed to go on. Optuna's integration in Ray Tune does
not serve this, since it suggests a cell whenever a trial ends.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING, Any

from fmnist.comparison.grid.search import Range, SearchSpace
from fmnist.comparison.grid.settings import Setting
from fmnist.run_settings import Training

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


@dataclass(frozen=True, kw_only=True)
class OptunaSearch:
    """Optuna's TPE sampler over a space; `trials` cells, `round_size` of which share a round."""

    space: SearchSpace
    trials: int
    round_size: int

    def changed(self, change: Callable[[Training], Training]) -> "OptunaSearch":
        """Returns the search in a changed space; see `SearchSpace.changed`."""
        return replace(self, space=self.space.changed(change))

    def suggest(self, ended: Mapping[Training, float | None]) -> list[Training]:
        """Returns the cells of the next round, none of which is among those that have ended.

        `ended` has all suggested cells in their order, with accuracies; None where all runs failed.
        """
        # Here and not above: it takes a second, and only such searches need it.
        import optuna
        from optuna.trial import TrialState, create_trial

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        seed = Random(f"{self.space.seed} {len(ended)}").getrandbits(32)
        # The liar counts cells of the same round as bad ones, so that they are spread.
        sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        distributions = self._distributions()
        for cell, accuracy in ended.items():
            study.add_trial(
                create_trial(
                    state=TrialState.FAIL if accuracy is None else TrialState.COMPLETE,
                    value=accuracy,
                    params={name: getattr(cell, name) for name in distributions},
                    distributions=distributions,
                )
            )
        new: dict[Training, None] = {}
        for _ in range(min(self.round_size, self.trials - len(ended))):
            values = study.ask(distributions).params
            cell = self.space.cell({name: self._rounded(name, values[name]) for name in values})
            if cell in ended or cell in new:  # rounded to one that is known, or there are few
                (cell,) = self.space.draw_new(1, {*ended, *new})
            new[cell] = None
        return list(new)

    def _distributions(self) -> "dict[str, BaseDistribution]":
        from optuna.distributions import (
            CategoricalDistribution,
            FloatDistribution,
            IntDistribution,
        )

        found: dict[str, BaseDistribution] = {}
        for name, domain in self.space.domains.items():
            if not isinstance(domain, Range):
                found[name] = CategoricalDistribution(domain.values)
            elif domain.whole:
                found[name] = IntDistribution(int(domain.low), int(domain.high), log=domain.log)
            else:
                found[name] = FloatDistribution(domain.low, domain.high, log=domain.log)
        return found

    def _rounded(self, name: str, value: Any) -> Setting:
        domain = self.space.domains[name]
        return domain.rounded(value) if isinstance(domain, Range) else value
