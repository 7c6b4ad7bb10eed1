"""One rank of a training without Ray: trains, prints what it saw as JSON, and ends.

python -m tests.support.rank '{"rank": 0, "addresses": ["127.0.0.1:4000"], …}'
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from fmnist.models.network_files import NetworkFiles
from fmnist.run_settings import Training
from fmnist.tasks import FASHION
from fmnist.training import batches
from tests.support.models import separable

EVALUATION_BATCH = 50
KEPT: list[Any] = []  # until the process ends; see distributed.endless_dataset


def main(job: dict[str, Any]) -> None:
    """Trains with each of `job["trainings"]`; prints a list of what it saw."""
    set_cluster(job["addresses"], job["rank"])
    from fmnist.models.tensorflow import import_tensorflow

    import_tensorflow()
    from fmnist.training.worker import distributed

    strategy = distributed.start_strategy(threads=1, world=len(job["addresses"]))
    data = np.load(job["data"])
    seen = [train(job, strategy, data, Training(**each)) for each in job["trainings"]]
    print(json.dumps(seen), flush=True)
    os._exit(0)  # without waiting for the iterators; see distributed.endless_dataset


def train(job: dict[str, Any], strategy: Any, data: Any, training: Training) -> dict[str, Any]:
    """Trains `job["steps"]` steps of `job["batch"]` images without dropout; evaluates around it."""
    import keras

    from fmnist.training.worker import distributed

    model = make_model(strategy, training)
    steps = batches.count_steps(len(data["test_labels"]), EVALUATION_BATCH)
    test = evaluation_data(job, strategy, data)

    def evaluate() -> Any:
        return model.evaluate(test, steps=steps, return_dict=True, verbose=0)

    evaluation = evaluate()
    made: list[int] = []  # batches
    losses: list[float] = []
    made_ahead: list[int] = []

    def note(step: int, logs: dict[str, Any]) -> None:
        losses.append(float(logs["loss"]))
        made_ahead.append(len(made) - len(losses))

    after_step = keras.callbacks.LambdaCallback(on_train_batch_end=note)
    endless = training_data(job, strategy, data, made)
    model.fit(
        endless, steps_per_epoch=job["steps"], shuffle=False, verbose=0, callbacks=[after_step]
    )
    digest = digest_of([*model.weights, *model.average.variables])
    rows = np.full((3 + job["rank"], 2), job["rank"], np.float32)
    trained = evaluate()
    model.average.swap()
    KEPT.extend([model, test, endless])
    return {
        "losses": losses,
        "made_ahead": max(made_ahead),
        "weights": digest,
        "evaluation": evaluation,
        "trained": trained,
        "averaged": evaluate(),
        "gathered": distributed.gather_rows(strategy, rows)[:, 0].tolist(),
    }


def set_cluster(addresses: list[str], rank: int) -> None:
    """Tells TensorFlow the addresses of all ranks, and which of them this process is."""
    task = {"type": "worker", "index": rank}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": addresses}, "task": task})


def digest_of(variables: list[Any]) -> str:
    """The SHA-256 of the bytes of all these variables, in hexadecimal digits."""
    import keras

    digest = hashlib.sha256()
    for variable in variables:
        digest.update(keras.ops.convert_to_numpy(variable).tobytes())
    return digest.hexdigest()


def make_model(strategy: Any, training: Training) -> Any:
    """Builds a network as a worker does, but without dropout, and compiles it."""
    import keras

    from fmnist.models.architectures import build
    from fmnist.training.worker import distributed
    from fmnist.training.worker.batch_norm import GlobalBatchNormalization
    from fmnist.training.worker.optimizers import make_optimizer

    with strategy.scope():
        keras.utils.set_random_seed(0)
        plain = build(
            training.architecture,
            FASHION,
            activation="relu",
            precision="float32",
            batch_normalization=GlobalBatchNormalization,
            own=NetworkFiles(networks=[separable()]).network(training),
        )
        for layer in plain.layers:
            if isinstance(layer, keras.layers.Dropout):
                layer.rate = 0.0
        model = distributed.DistributedModel(
            plain.inputs,
            plain.outputs,
            label_smoothing=training.label_smoothing,
            average_weights=training.average_weights,
        )
        model.compile(optimizer=make_optimizer(training, steps=1), jit_compile=False)
        model.optimizer.build(model.trainable_variables)
    return model


def training_data(job: dict[str, Any], strategy: Any, data: Any, made: list[int]) -> Any:
    """Returns this rank's share of the batches to train on, without end; notes in `made` each."""
    from fmnist.training.worker import distributed

    images, labels = data["train_images"], data["train_labels"]
    order = batches.TrainingOrder(
        batch=job["batch"],
        seed=0,
        first_epoch=0,
        first_step=0,
        augmentation="none",
        rank=job["rank"],
        world=len(job["addresses"]),
    )

    def noted() -> Iterator[batches.Batch]:
        for batch in batches.training_batches(images, labels, order):
            made.append(len(made))
            yield batch

    return distributed.endless_dataset(strategy, FASHION.shape, noted)


def evaluation_data(job: dict[str, Any], strategy: Any, data: Any) -> Any:
    """Returns this rank's share of the batches to evaluate on."""
    from fmnist.training.worker import distributed

    images, labels = data["test_images"], data["test_labels"]
    rank, world = job["rank"], len(job["addresses"])
    return distributed.endless_dataset(
        strategy,
        FASHION.shape,
        lambda: batches.evaluation_batches(
            images, labels, batch=EVALUATION_BATCH, rank=rank, world=world
        ),
    )


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
