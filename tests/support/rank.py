"""One rank of a training without Ray: trains, prints what it saw as JSON, and ends.

python -m tests.support.rank '{"rank": 0, "addresses": ["127.0.0.1:4000"], …}'
"""

import hashlib
import json
import os
import sys
from typing import Any


def main(job: dict[str, Any]) -> None:
    """Trains `job["steps"]` steps of `job["batch"]` images without dropout, then evaluates."""
    cluster = {"worker": job["addresses"]}
    os.environ["TF_CONFIG"] = json.dumps(
        {"cluster": cluster, "task": {"type": "worker", "index": job["rank"]}}
    )
    from fmnist.models.tensorflow import import_tensorflow

    import_tensorflow()
    from fmnist.training import batches
    from fmnist.training.worker import distributed

    rank, world = job["rank"], len(job["addresses"])
    strategy = distributed.start_strategy(threads=1, world=world)

    import keras
    import numpy as np

    from fmnist.models.architectures import build
    from fmnist.tasks import FASHION

    data = np.load(job["data"])
    images, labels = data["train_images"], data["train_labels"]
    test_images, test_labels = data["test_images"], data["test_labels"]
    with strategy.scope():
        keras.utils.set_random_seed(0)
        plain = build("cnn", FASHION, activation="relu", precision="float32")
        for layer in plain.layers:
            if isinstance(layer, keras.layers.Dropout):
                layer.rate = 0.0
        model = distributed.DistributedModel(plain.inputs, plain.outputs)
        model.compile(optimizer=keras.optimizers.SGD(job["learning_rate"]), jit_compile=False)
        model.optimizer.build(model.trainable_variables)

    def endless() -> Any:
        return distributed.endless_dataset(
            strategy,
            FASHION.shape,
            lambda: batches.training_batches(
                images,
                labels,
                batch=job["batch"],
                seed=0,
                first_epoch=0,
                first_step=0,
                augmentation="none",
                rank=rank,
                world=world,
            ),
        )

    def finite() -> Any:
        return distributed.endless_dataset(
            strategy,
            FASHION.shape,
            lambda: batches.evaluation_batches(
                test_images, test_labels, batch=50, rank=rank, world=world
            ),
        )

    evaluation = model.evaluate(
        finite(), steps=batches.count_steps(len(test_labels), 50), return_dict=True, verbose=0
    )
    losses = []
    note = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: losses.append(float(logs["loss"]))
    )
    model.fit(endless(), steps_per_epoch=job["steps"], shuffle=False, verbose=0, callbacks=[note])
    rows = np.full((3 + rank, 2), rank, np.float32)
    digest = hashlib.sha256()
    for variable in model.weights:
        digest.update(keras.ops.convert_to_numpy(variable).tobytes())
    seen = {
        "losses": losses,
        "weights": digest.hexdigest(),
        "evaluation": evaluation,
        "gathered": distributed.gather_rows(strategy, rows)[:, 0].tolist(),
    }
    print(json.dumps(seen), flush=True)
    os._exit(0)  # without waiting for the iterators; see distributed.endless_dataset


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
