"""Chooses the images on which champion and challenger are compared."""

from dataclasses import replace

import pytest

from fmnist.errors import UserError
from fmnist.retraining.held_out import hold_out
from tests.support.challengers import RECIPE, readable


def test_what_nobody_learned_from_is_what_both_are_judged_on() -> None:
    data = readable(1)
    assert hold_out(data, RECIPE).part == "test"
    bare = replace(data, test=replace(data.test, labels=None))
    held_out = hold_out(bare, replace(RECIPE, validation=0.25))
    assert (held_out.part, len(held_out.examples)) == ("validation", 10)
    assert "its epoch was not chosen" in held_out.note
    with pytest.raises(UserError, match="no labelled test part and a validation share of 0"):
        hold_out(bare, RECIPE)


def test_no_epoch_is_chosen_on_the_images_that_judge_it() -> None:
    """Such a plan is refused, so that nothing is trained for it."""
    data = readable(1)
    bare = replace(data, test=replace(data.test, labels=None))
    best = replace(RECIPE, validation=0.25, select="best")
    assert hold_out(data, best).part == "test"
    with pytest.raises(UserError, match="data 1: found no labelled test part and select best"):
        hold_out(bare, best)
