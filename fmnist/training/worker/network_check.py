"""Finds what would go wrong with a user's network or initial weights, before anything is trained.

A run must end with the same bytes however often it is interrupted, and train alike with any number
of workers; its model must load without the user's code. So a network may keep no state but weights
and the moving statistics of our batch normalization, and consists of Keras' layers alone.
"""

from dataclasses import replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fmnist.errors import UserError
from fmnist.models.architectures import build
from fmnist.models.classifier import Classifier
from fmnist.models.initial_weights import own_weights, set_initial_weights
from fmnist.models.network_files import WeightsFile
from fmnist.models.own_network import OwnNetwork
from fmnist.run_settings import Training
from fmnist.storage.atomic import temporary_folder
from fmnist.tasks import Task
from fmnist.training.worker.batch_norm import GlobalBatchNormalization, rows_that_count
from fmnist.training.worker.session import POLICIES, build_network

IMAGES = 4  # in the step that is tried
TOLERANCE = 1e-4  # between the probabilities of an image alone and with others


def find_problem(
    training: Training, task: Task, network: OwnNetwork | None, weights: WeightsFile | None
) -> str | None:
    """Returns the message of the UserError with which this network could not be trained, if any.

    Call it in a process of its own: it changes settings of TensorFlow and Keras.
    """
    if training.deterministic:
        tf.config.experimental.enable_op_determinism()
    try:
        if network:
            _check_network(network, training, task)
        if weights:
            model = _build(training, task, network, POLICIES["float32"])
            set_initial_weights(model, weights.read(), freeze=training.freeze, where=weights.given)
    except UserError as error:
        return str(error)
    return None


def _check_network(network: OwnNetwork, training: Training, task: Task) -> None:
    model = _build(training, task, network, POLICIES["float32"])
    other_seed = replace(training, seed=training.seed ^ 1)
    others = [_build(each, task, network, POLICIES["float32"]) for each in (training, other_seed)]
    _check_same(network, model, *others)
    _check_layers(network, model)
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, *task.shape), np.uint8)
    _check_rows(network, model, images)
    _check_loading(network, training, task, images)
    _check_step(network, model, images)
    if training.precision != "float32":
        _check_step(network, _build(training, task, network, POLICIES["bfloat16"]), images)


def _build(training: Training, task: Task, network: OwnNetwork | None, policy: str) -> Any:
    """Builds the network as a worker does; the names of its layers count from one."""
    keras.utils.clear_session(free_memory=False)
    return build_network(training, task, policy, own=network)


def _layers(model: Any) -> list[Any]:
    return list(model._flatten_layers(include_self=False))


def _check_same(network: OwnNetwork, model: Any, again: Any, other_seed: Any) -> None:
    """Only the initial weights may follow from the seed: a published model is built without it."""
    try:
        first, second, other = (each.get_config() for each in (model, again, other_seed))
    except Exception as error:  # by whatever does not know its own arguments
        raise network.error(
            f"can't be saved, expected Keras' layers and functions, and no lambda: {error}"
        ) from error
    pairs = zip(model.get_weights(), again.get_weights(), strict=True)
    if not (first == second == other and all(np.array_equal(*pair) for pair in pairs)):
        raise network.error(
            "another call returned another network, expected the same layers, with initial weights "
            "that follow from the seed of keras.utils.set_random_seed"
        )


def _check_layers(network: OwnNetwork, model: Any) -> None:
    """Raises UserError for layers that can't be loaded elsewhere, or trained exactly."""
    found: dict[str, list[str]] = {}
    for layer in _layers(model):
        if problem := _layer_problem(layer):
            found.setdefault(problem, []).append(layer.name)
    problems = []
    for problem, (name, *others) in found.items():
        more = f" (and {len(others)} more)" if others else ""
        problems.append(str(network.error(f"layer {name!r}{more} {problem}")))
    UserError.raise_if(problems)


def _layer_problem(layer: Any) -> str | None:
    kind, variables = type(layer), own_weights(layer)
    if isinstance(layer, GlobalBatchNormalization):
        last = layer.axis in (-1, layer.input_spec.ndim - 1)
        if not (layer.center and layer.scale and last):
            return "normalizes without center or scale or over another axis, expected the last one"
        if layer.renorm:
            return "renormalizes, expected renorm=False"
    elif not kind.__module__.startswith("keras."):
        return f"is a {kind.__name__} of your own, expected Keras' layers: a model must load alone"
    elif isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
        return (
            "is Keras' BatchNormalization, whose statistics differ between workers, expected "
            "layers.BatchNormalization of the argument `layers`"
        )
    elif isinstance(layer, keras.layers.Lambda):
        return "is a Lambda, expected layers or keras.ops: safe_mode loads no code"
    if layer.activity_regularizer or any(variable.regularizer for variable in variables):
        return "has a regularizer, which is not part of the loss; expected --weight-decay instead"
    if any(variable.constraint for variable in variables):
        return "has a constraint of its weights, expected none"
    if any(variable.dtype != "float32" for variable in variables):
        return f"has weights of {variables[0].dtype}, expected float32"
    return None


def _check_loading(network: OwnNetwork, training: Training, task: Task, images: np.ndarray) -> None:
    """Saves and loads the model that would be published, as others will."""
    keras.utils.set_random_seed(training.seed)
    model = build(
        training.architecture,
        task,
        activation=training.activation,
        precision="float32",
        own=network,
    )
    keras.saving.get_custom_objects().clear()  # which the user's file may have registered
    with temporary_folder() as folder, network.errors():
        path = folder / "model.keras"
        try:
            model.save(path)
            loaded = Classifier(path)
        except UserError as error:
            raise network.error(f"its model can't be loaded without your file: {error}") from error
        found, expected = loaded(images), model(images, training=False).numpy()
    if not np.allclose(found, expected, atol=TOLERANCE):
        raise network.error("its model predicts otherwise after it was saved and loaded")


def _check_rows(network: OwnNetwork, model: Any, images: np.ndarray) -> None:
    with network.errors():
        together_, alone = (model(images[:rows], training=False).numpy() for rows in (IMAGES, 1))
    if not np.allclose(together_[:1], alone, atol=TOLERANCE):
        raise network.error(
            "the probabilities of an image depend on the other images of its batch, expected that "
            "only batch normalization looks at them: workers share a batch"
        )


def _check_step(network: OwnNetwork, model: Any, images: np.ndarray) -> None:
    """Tries a step of training, and looks at what it has changed and where gradients arrive."""
    before = _state(model)
    labels, weights = tf.zeros(len(images), tf.int64), tf.fill([len(images)], 1 / len(images))
    with network.errors():
        with tf.GradientTape() as tape, rows_that_count(weights):
            probabilities = model(images, training=True)
            losses = keras.losses.sparse_categorical_crossentropy(labels, probabilities)
            loss = tf.reduce_sum(losses * weights)
        gradients = tape.gradient(loss, model.trainable_variables)
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        if gradient is None:
            raise network.error(f"no gradient reaches {variable.path}, expected one")
    for layer, old, new in zip(_layers(model), before, _state(model), strict=True):
        if any(after[1] - first[1] > 1 for first, after in zip(old[1], new[1], strict=True)):
            raise network.error(
                f"layer {layer.name!r} draws random numbers more than once in a step, expected "
                "once, as dropout does: a run that resumes could not repeat them"
            )
        kept = isinstance(layer, GlobalBatchNormalization)
        if not kept and not all(map(np.array_equal, old[0], new[0])):
            raise network.error(
                f"layer {layer.name!r} keeps state that a step changes, expected weights alone: it "
                "would differ between workers"
            )


def _state(model: Any) -> list[tuple[list[np.ndarray], list[np.ndarray]]]:
    """Returns the weights of each layer, and the states of its random generators."""
    return [
        (
            [variable.numpy() for variable in layer._non_trainable_variables],
            [generator.state.numpy() for generator in layer._seed_generators],
        )
        for layer in _layers(model)
    ]
