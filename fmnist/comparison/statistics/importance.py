"""Measures how much each setting of a search matters, through a random forest."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fmnist.comparison.facts import ComparedCell, Split
from fmnist.comparison.grid.settings import Setting, differing_settings

LEAST_CELLS = 10  # for fewer, nothing is measured or plotted: their table is clearer
FOLDS = 5
TREES = 100
SHUFFLES = 10  # of each setting in each fold


@dataclass(frozen=True, kw_only=True)
class Importance:
    """How well settings predict accuracy.

    `explained` is the part of the variance of accuracy between cells that a forest explains in
    cells that it was not trained on; below 0, it is worse than the mean. `shares` are the parts
    that settings have in the variance, by name, alone and together with others (Sobol's total
    index): half the growth of the squared error when the setting's values are shuffled.
    """

    explained: float
    shares: dict[str, float]


def measure_importance(cells: Sequence[ComparedCell], basis: Split) -> Importance | None:
    """Returns the importance of each setting that differs; the cells' order does not matter.

    None for too few cells, of which those with a run that was stopped early do not count, and where
    not at least two settings, or no accuracies, differ.
    """
    names = differing_settings([cell.settings for cell in cells])
    known = [
        (tuple(cell.settings[name] for name in names), np.mean(list(found.values())))
        for cell in sorted(cells, key=lambda cell: cell.name)
        if (found := cell.accuracies(basis))
    ]
    if len(known) < LEAST_CELLS or len(names) < 2:
        return None
    columns = zip(*(values for values, _ in known), strict=True)
    inputs = np.stack([_places(column) for column in columns], axis=1)
    accuracies = np.array([accuracy for _, accuracy in known])
    if not (variance := accuracies.var()):
        return None
    error, shuffled = _errors(inputs, accuracies)
    return Importance(
        explained=float(1 - error / variance),
        shares=dict(zip(names, ((shuffled - error) / variance / 2).tolist(), strict=True)),
    )


def _places(values: Sequence[Setting | None]) -> np.ndarray:
    """Returns the place of each value among all of them: numbers by size, others as text."""
    numbers = all(isinstance(value, int | float) for value in values)
    comparable = np.array(values if numbers else [*map(str, values)])
    return np.unique(comparable, return_inverse=True)[1]


def _errors(inputs: np.ndarray, accuracies: np.ndarray) -> tuple[float, np.ndarray]:
    """Returns the mean squared error in cells left out, and with each column shuffled (columns,).

    `inputs` (cells, columns) has the places of values among all values of their column, which is
    all that trees see of them.
    """
    # Here and not above: they take a second, which --help need not wait for.
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.model_selection import KFold

    random = np.random.default_rng(0)
    error, shuffled = 0.0, np.zeros(inputs.shape[1])
    for train, test in KFold(FOLDS, shuffle=True, random_state=0).split(inputs):
        forest = RandomForestRegressor(TREES, random_state=0).fit(inputs[train], accuracies[train])
        error += ((forest.predict(inputs[test]) - accuracies[test]) ** 2).sum()
        for column in range(inputs.shape[1]):
            changed = np.repeat(inputs[test][None], SHUFFLES, axis=0)
            changed[:, :, column] = random.choice(inputs[:, column], changed.shape[:2])
            predicted = forest.predict(changed.reshape(-1, inputs.shape[1]))
            found = (predicted.reshape(SHUFFLES, -1) - accuracies[test]) ** 2
            shuffled[column] += found.mean(axis=0).sum()
    return error / len(inputs), shuffled / len(inputs)
