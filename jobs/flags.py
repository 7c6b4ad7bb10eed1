"""What the jobs that train have in common in their flags."""

import argparse

from fmnist.errors import UserError
from fmnist.recipes import RECIPES, Training

DEFAULT_RECIPE = "quick"


def named_recipe() -> Training:
    """The recipe that `--recipe` names, whose values the flags that are not given have."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--recipe", default=DEFAULT_RECIPE)
    recipe = first.parse_known_args()[0].recipe
    if recipe not in RECIPES:
        raise UserError(f"unknown recipe {recipe!r}: expected one of {', '.join(RECIPES)}")
    return RECIPES[recipe]
