"""The held-out examples on which champion and challenger are compared."""

from dataclasses import dataclass
from typing import Literal

from fmnist.data.dataset import Dataset, Examples, labelled, split_rows
from fmnist.errors import UserError
from fmnist.run_settings import Training

HeldOutPart = Literal["test", "validation"]
NOTES: dict[HeldOutPart, str] = {
    "test": (
        "These are the labelled test images. The challenger has not learned from them; nor "
        "has the champion, unless they were among the training images of its own data."
    ),
    "validation": (
        "The data have no labelled test images: these are the challenger's validation images, "
        "from which it has not learned and on which its epoch was not chosen. The champion may "
        "have learned from some of them, or its epoch was chosen on some, which favours it."
    ),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOut:
    """Labelled examples for the gate, and the part of the data set that they come from."""

    part: HeldOutPart
    examples: Examples

    @property
    def note(self) -> str:
        """Limits of a comparison on this part, for people."""
        return NOTES[self.part]


def hold_out(dataset: Dataset, training: Training) -> HeldOut:
    """Returns the test part if it has labels, otherwise the validation part.

    Raises UserError if there is neither, and if the recipe chooses the best epoch on the validation
    images: their scores would then be too good for a comparison.
    """
    if dataset.test is not None and dataset.test.labels is not None:
        return HeldOut(part="test", examples=dataset.test)
    train = labelled(dataset)
    rows = split_rows(len(train), training.validation)[1]
    if rows is None:
        raise UserError(
            f"{dataset.source}: found no labelled test part and a validation share of 0, expected "
            "labelled examples to judge champion and challenger on"
        )
    if training.select == "best":
        raise UserError(
            f"{dataset.source}: found no labelled test part and select best, which chooses the "
            "epoch on the validation images that champion and challenger would be judged on; "
            "expected labelled test images, or --select last"
        )
    return HeldOut(part="validation", examples=train.take(rows))
