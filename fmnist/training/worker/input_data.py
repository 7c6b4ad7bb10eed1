"""The data sets that a worker gives to Keras' `fit`: this rank's batches, without end."""

from dataclasses import dataclass
from typing import Any

from fmnist.training import batches
from fmnist.training.worker import distributed
from fmnist.training.worker.session import Session

EVALUATION_BATCH = 1000  # images in a step of validation over all workers together


@dataclass(frozen=True, kw_only=True)
class ValidationData:
    """`steps` batches of `data` are the whole validation split."""

    data: Any
    steps: int


def training_data(session: Session) -> Any:
    """Makes the data set of training batches, from the session's state on."""
    spec, state = session.spec, session.state
    images, labels = spec.splits["train"].arrays()
    return distributed.endless_dataset(
        session.strategy,
        spec.task.shape,
        lambda: batches.training_batches(
            images,
            labels,
            batch=spec.training.batch,
            seed=spec.training.seed,
            first_epoch=state.epoch,
            first_step=state.step,
            augmentation=spec.training.augmentation,
            rank=session.rank,
            world=session.world,
        ),
    )


def validation_data(session: Session) -> ValidationData | None:
    """Makes the data set of validation batches; None where nothing is held out."""
    split = session.spec.splits.get("validation")
    if split is None:
        return None
    images, labels = split.arrays()
    data = distributed.endless_dataset(
        session.strategy,
        session.spec.task.shape,
        lambda: batches.evaluation_batches(
            images, labels, batch=EVALUATION_BATCH, rank=session.rank, world=session.world
        ),
    )
    return ValidationData(data=data, steps=batches.count_steps(split.size, EVALUATION_BATCH))
