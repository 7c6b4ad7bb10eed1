"""Settings of scoring that change the predictions, and so their id."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from fmnist.errors import UserError, unknown
from fmnist.run_settings import CHOICES, Precision, least_and_most

if TYPE_CHECKING:
    from fmnist.runs.published import PublishedModel

# flip: the mean of the probabilities of an image and of its mirror image.
Tta = Literal["none", "flip"]


@dataclass(frozen=True, kw_only=True)
class PredictionSettings:
    """The device, the sums and the images from which a prediction is made.

    With `probabilities`, predictions have those of each class. `tta` is the test-time augmentation.
    An actor has `cpus`, and with `gpu` a GPU. `precision` is a Keras dtype, float32 or bfloat16.
    """

    probabilities: bool = False
    tta: Tta = "none"
    precision: Literal["float32", "bfloat16"] = "float32"
    gpu: bool = False
    cpus: int = 1

    @property
    def id_parts(self) -> list[str]:
        """Parts of the id, but for `probabilities`; none for the usual settings.

        Each of them changes probabilities at least in their last digits. Predictions have the id
        that they had before these settings where none is used.
        """
        parts = ["gpu"] if self.gpu else []
        parts += [f"{self.cpus} CPUs"] if self.cpus > 1 and not self.gpu else []
        parts += [f"test-time augmentation {self.tta}"] if self.tta != "none" else []
        return parts + ([self.precision] if self.precision != "float32" else [])


USUAL = PredictionSettings()


def check_choices(*, tta: str, precision: str, gpu: bool) -> None:
    """Raises UserError that lists the flags with a value that they cannot have."""
    problems = [
        unknown(name, value, known)
        for name, value, known in (
            ("tta", tta, get_args(Tta)),
            ("precision", precision, CHOICES["precision"]),
        )
        if value not in known
    ]
    if gpu and precision == "auto":
        problems.append(
            "precision is auto with --gpu, expected float32 or bfloat16, which GPUs have since "
            "2020: a job does not know the GPUs of all nodes"
        )
    UserError.raise_if(problems)


def check_actors(actors: int | str | None) -> None:
    """Raises UserError for what is neither a number of actors nor a range of them."""
    if actors is not None:
        least_and_most("actors", actors)


def check_model(model: "PublishedModel", settings: PredictionSettings) -> None:
    """Raises UserError for a model that can't predict like this.

    An image may be mirrored where the task says that its label stays, or where the model has
    learned from mirrored images. A network has another precision only if it can be built again.
    """
    training, problems = model.training, []
    if settings.tta == "flip" and not any(
        "flip" in str(name) for name in (model.task.augmentation, training.get("augmentation"))
    ):
        problems.append(
            f"tta is flip, but the task {model.task.name} does not say that a mirror image has the "
            f"label of the image, and run {model.run} was not trained on mirrored images; expected "
            "none, or a run with --augmentation flip"
        )
    if (
        settings.precision == "bfloat16"
        and training.get("architecture") not in CHOICES["architecture"]
    ):
        problems.append(
            f"precision is bfloat16, but run {model.run} has no network of this package; expected "
            "float32"
        )
    UserError.raise_if(problems)


def resolve_precision(precision: Precision) -> Literal["float32", "bfloat16"]:
    """The precision for `auto`: bfloat16 where the processor of this machine has it."""
    if precision != "auto":
        return precision
    from fmnist.machine import has_bfloat16

    return "bfloat16" if has_bfloat16() else "float32"
