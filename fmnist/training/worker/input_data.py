"""The data sets that a worker gives to Keras' `fit`: this rank's batches, without end."""

from dataclasses import dataclass
from typing import Any

from fmnist.run_settings import Training
from fmnist.tasks import Task
from fmnist.training import batches
from fmnist.training.batches import TrainingOrder
from fmnist.training.worker import distributed
from fmnist.training.worker.session import Session

# Images in a step of validation over all workers together: fewer if they are large, but as many as
# in a step of training, which takes more memory for each.
EVALUATION_BATCH, EVALUATION_BYTES = 1000, 1 << 20


@dataclass(frozen=True, kw_only=True)
class ValidationData:
    """`steps` batches of `data` are the whole validation split."""

    data: Any
    steps: int


def training_data(session: Session) -> Any:
    """Makes the data set of training batches, from the session's state on."""
    spec, state = session.spec, session.state
    order = TrainingOrder(
        batch=spec.training.batch,
        seed=spec.training.seed,
        first_epoch=state.epoch,
        first_step=state.step,
        augmentation=spec.training.augmentation,
        rank=session.rank,
        world=session.world,
    )
    train = spec.splits["train"]
    return distributed.endless_dataset(
        session.strategy,
        spec.task.shape,
        lambda: session.keep_error(train.training_batches(order)),
    )


def validation_data(session: Session) -> ValidationData | None:
    """Makes the data set of validation batches; None where nothing is held out."""
    split = session.spec.splits.get("validation")
    if split is None:
        return None
    batch = evaluation_batch(session.spec.task, session.spec.training)
    data = distributed.endless_dataset(
        session.strategy,
        session.spec.task.shape,
        lambda: session.keep_error(
            split.evaluation_batches(batch=batch, rank=session.rank, world=session.world)
        ),
    )
    return ValidationData(data=data, steps=batches.count_steps(split.size, batch))


def evaluation_batch(task: Task, training: Training) -> int:
    """Returns how many images a step of validation has."""
    return min(EVALUATION_BATCH, max(training.batch, EVALUATION_BYTES // task.pixels))
