"""The history of a run: one row of numbers an epoch, from training to pages and tables."""

from typing import NotRequired, TypedDict


class EpochRow(TypedDict):
    """Measurements of one epoch of training; losses in nats, accuracies as shares of one."""

    epoch: int  # counted from 1
    accuracy: float  # mean over the training examples, as the weights changed
    loss: float
    val_accuracy: NotRequired[float]  # only where examples are held out for validation
    val_loss: NotRequired[float]
    learning_rate: float  # after the epoch's last step
    seconds: float
    images_per_second: float
