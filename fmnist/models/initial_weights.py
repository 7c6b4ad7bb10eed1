"""Initial weights out of a `.keras` file, and layers that keep them.

Layers that have weights are matched in their order, since the names of layers differ from process
to process. The file may be a whole classifier, whose last layer is left out where it is for other
classes, or only the first layers of the network, as a pretrained backbone is.
"""

from typing import Any

from fmnist.errors import UserError
from fmnist.models.classifier import load_model
from fmnist.storage.atomic import temporary_folder

Form = list[tuple[str, tuple[int, ...]]]  # of each of a layer's weights: its name and its shape


def set_initial_weights(model: Any, data: bytes, *, freeze: int, where: str) -> int:
    """Sets the weights of the model's first layers to those in a file; returns how many layers.

    The first `freeze` layers are made not trainable. Raises UserError that names the first layer
    that does not fit, and for more frozen layers than the file has, or no other ones.
    """
    with temporary_folder() as folder:
        path = folder / "initial.keras"
        path.write_bytes(data)
        source = layers_with_weights(load_model(path, name=where))
    layers = layers_with_weights(model)
    count = _count_matching(source, layers, where)
    if freeze > count or freeze == len(layers):
        most = min(count, len(layers) - 1)
        raise UserError(
            f"freeze is {freeze}, expected at most {most}: of the network's {len(layers)} layers "
            f"with weights, {count} have initial weights from {where}"
        )
    for layer, found in zip(layers[:count], source, strict=False):
        for weight, value in zip(own_weights(layer), own_weights(found), strict=True):
            weight.assign(value)
    for layer in layers[:freeze]:
        layer.trainable = False
    return count


def layers_with_weights(model: Any) -> list[Any]:
    """Returns the innermost layers that have weights, in their order."""
    found: dict[int, Any] = {}
    for layer in model._layers:
        if own_weights(layer):
            found[id(layer)] = layer
        found |= {id(inner): inner for inner in layers_with_weights(layer)}
    return list(found.values())


def own_weights(layer: Any) -> list[Any]:
    """Returns the weights of a layer itself, without those of layers inside of it."""
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def _form(layer: Any) -> Form:
    return [(weight.name, tuple(weight.shape)) for weight in own_weights(layer)]


def _count_matching(source: list[Any], layers: list[Any], where: str) -> int:
    """Returns how many layers match; of the file's, only a classifier at its end need not."""
    for index, found in enumerate(source):
        if index < len(layers) and _form(found) == _form(layers[index]):
            continue
        if index and index == len(source) - 1 and _is_classifier(found):
            return index
        expected = _text(layers[index]) if index < len(layers) else "no more layers"
        raise UserError(
            f"initial weights {where}: layer {index + 1} with weights is {_text(found)}, but the "
            f"network has {expected}"
        )
    if not source:
        raise UserError(f"initial weights {where}: found no layer with weights")
    return len(source)


def _is_classifier(layer: Any) -> bool:
    return [name for name, _ in _form(layer)] == ["kernel", "bias"]


def _text(layer: Any) -> str:
    weights = ", ".join(f"{name} {shape}" for name, shape in _form(layer))
    return f"{type(layer).__name__} ({weights})"
