"""Settings of a run, which are flags of its jobs: their types, defaults and allowed values."""

import re
from dataclasses import dataclass, replace
from typing import Literal, get_args, get_origin, get_type_hints

from fmnist.errors import UserError, together, unknown
from fmnist.tasks import Augmentation, Task

# `models.architectures` has a network for each name, `training.worker.optimizers` an optimizer.
Architecture = Literal[
    "dense", "cnn", "resnet", "inception",
    "convnet-small", "convnet", "convnet-brightness", "resnet9", "resnet9-brightness",
]  # fmt: skip
Activation = Literal["relu", "tanh", "sigmoid"]
Optimizer = Literal["adam", "rmsprop", "sgd", "muon"]
Schedule = Literal["constant", "one-cycle"]
Precision = Literal["auto", "float32", "bfloat16"]
AugmentationChoice = Literal[Augmentation, "auto"]
Selection = Literal["last", "best"]
Ingest = Literal["memory", "stream", "auto"]

# A network of the user's own, as it is given, and the name that it then has in settings and ids.
OWN_PLACE = re.compile(r"(?P<file>.+\.py):(?P<function>[A-Za-z][A-Za-z0-9_]*)")
OWN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\.[0-9a-f]{12}")

GPU_SHARES = (1, 0.5, 0.25, 0.2, 0.1)  # the values that `gpus_per_worker` can have
SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kKMGTP]?)(i?)B?")  # 10GB, 1.5 TiB
PREFIXES = " KMGTP"  # of units, each a thousand times the one before it
MOST_EPOCHS = 99_999  # digits in the name of a checkpoint
MOST_SEED = 2**32 - 1  # NumPy's largest seed; Keras passes its seed on to NumPy


@dataclass(frozen=True, kw_only=True)
class Training:
    """Settings that decide the trained weights; they and the data make the run id."""

    architecture: Architecture | str = "cnn"
    """Network to train; nets.py:my_net is a function of your own in a Python file."""
    activation: Activation = "relu"
    """Activation of the hidden layers."""
    optimizer: Optimizer = "adam"
    """Keras' optimizer. muon learns in fewer steps, but large dense layers make it slow."""
    learning_rate: float = 1e-4
    """Constant rate, or the peak of the schedule."""
    schedule: Schedule = "constant"
    """one-cycle: linear warm-up over the first quarter, then cosine decay to zero."""
    weight_decay: float = 0.0
    """Part of each weight that a step takes away, times the learning rate; not of biases."""
    label_smoothing: float = 0.0
    """Probability that the training loss spreads over all classes; reported losses are plain."""
    average_weights: float = 0.0
    """Evaluate and publish a moving average of the weights, of this decay a step; 0: the last."""
    batch: int = 1024
    """Images in a step over all workers together (the global batch)."""
    epochs: int = 400
    """Passes over the training examples."""
    precision: Precision = "float32"
    """bfloat16: mixed with float32; auto: bfloat16 where the hardware has it, else float32."""
    augmentation: AugmentationChoice = "none"
    """Mirror in every other epoch, shift by 2 pixels or empty rows, erase a part; auto: by task."""
    select: Selection = "last"
    """Publish the weights of the last epoch, or of the best by validation loss."""
    validation: float = 0.1
    """Share of the training examples held out; 0 trains on all of them."""
    seed: int = 0
    """Decides weights, order, dropout and augmentation, with epoch and rank."""
    workers: int | str = 1
    """Processes that train data-parallel; `1:4` takes what there is from 1 to 4, and follows it."""
    deterministic: bool = True
    """Kernels that add in one order: the same run has the same bytes again; may cost on GPUs."""
    ingest: Ingest = "memory"
    """stream: images stay in shards, read in another order; auto: where they are too many."""
    initial_weights: str | None = None
    """A .keras file, local or s3://…, with whose weights the network begins."""
    freeze: int = 0
    """Layers with weights, from the first on, that keep their initial weights."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Resources of a run and its guards against failure; none of them changes what is learned."""

    cpus_per_worker: int | None = None
    """CPUs of each worker; by default the cluster's, divided among the workers; to compare, 1."""
    gpu: bool = False
    """Train on GPUs, and where the job scores, score on them."""
    gpus_per_worker: float = 1.0
    """GPUs of each worker, where it trains on them; runs of one worker can share one."""
    checkpoint_every: int = 1
    """Epochs between checkpoints; the best one by validation loss has one in any case."""
    keep_checkpoints: int = 2
    """Newest checkpoints that stay, beside the best by validation loss."""
    max_failures: int = 3
    """Times that a run is restarted from its checkpoint after a worker failed."""
    resize_every: float = 60.0
    """Seconds between looks for room for more workers, where their number is a range."""
    cache_size: str = "10GB"
    """Disk of each node for the shards of a streamed run."""


# The names that a field can have, by field; from the types, so that they stand once.
CHOICES: dict[str, tuple[str, ...]] = {
    field: get_args(each)
    for field, kind in get_type_hints(Training).items()
    for each in (kind, *get_args(kind))
    if get_origin(each) is Literal
}
_WHY_NOT = {
    "float16": " (its small gradients vanish without loss scaling; bfloat16's do not, and GPUs have"
    " it since 2020)"
}


def least_and_most(what: str, number: int | str) -> tuple[int, int]:
    """Returns the least and the most of what; raises UserError unless written as 4 or 1:4."""
    least, colon, most = str(number).partition(":")
    try:
        found = int(least), int(most if colon else least)
    except ValueError:
        found = 0, 0
    if not 1 <= found[0] <= found[1]:
        raise UserError(f"{what} is {number}, expected at least 1, or a range such as 1:4")
    return found


def parse_cache_size(text: str) -> int:
    """Bytes of a size such as 500MB, 10GB or 1.5TiB. Raises UserError for anything else."""
    found = SIZE.fullmatch(text.strip())
    if not found or (found[3] and not found[2]):
        raise UserError(f"cache size is {text!r}, expected bytes with a unit, such as 500MB")
    power = PREFIXES.index(found[2].upper() or " ")
    return int(float(found[1]) * (1024 if found[3] else 1000) ** power)


def is_own(architecture: str) -> bool:
    """Returns True for FILE.py:FUNCTION, and for the name that such a network gets."""
    return bool(OWN_PLACE.fullmatch(architecture) or OWN_NAME.fullmatch(architecture))


def check(training: Training, cluster: Cluster) -> None:
    """Raises UserError that lists every field with a value that it cannot have."""
    problems = _wrong_choices(training)
    for settings, field, least in (
        (training, "batch", 1),
        (training, "epochs", 1),
        (training, "seed", 0),
        (training, "freeze", 0),
        (cluster, "cpus_per_worker", 1),
        (cluster, "checkpoint_every", 1),
        (cluster, "keep_checkpoints", 1),
        (cluster, "max_failures", 0),
        (cluster, "resize_every", 1),
    ):
        value = getattr(settings, field)
        if value is not None and value < least:
            problems.append(f"{field.replace('_', ' ')} is {value}, expected at least {least}")
    if training.freeze > 0 and training.initial_weights is None:
        problems.append(f"freeze is {training.freeze} without initial weights, expected 0")
    if training.select == "best" and not training.validation:
        problems.append("select is best without validation images, expected last")
    if training.epochs > MOST_EPOCHS:
        problems.append(f"epochs is {training.epochs}, expected at most {MOST_EPOCHS}")
    if training.seed > MOST_SEED:
        problems.append(f"seed is {training.seed}, expected at most {MOST_SEED}")
    if cluster.gpus_per_worker not in GPU_SHARES:
        expected = ", ".join(map(str, GPU_SHARES))
        problems.append(f"gpus per worker is {cluster.gpus_per_worker}, expected one of {expected}")
    if not 0 < training.learning_rate < float("inf"):
        problems.append(f"learning rate is {training.learning_rate}, expected a positive number")
    if not 0 <= training.weight_decay < float("inf"):
        problems.append(f"weight decay is {training.weight_decay}, expected 0 or more")
    for field in ("label_smoothing", "average_weights", "validation"):
        value = getattr(training, field)
        if not 0 <= value < 1:
            problems.append(f"{field.replace('_', ' ')} is {value}, expected 0 up to below 1")
    together(
        lambda: UserError.raise_if(problems),
        lambda: _check_workers(training, cluster),
        lambda: parse_cache_size(cluster.cache_size),
    )


def _wrong_choices(training: Training) -> list[str]:
    problems = []
    for field, choices in CHOICES.items():
        value = getattr(training, field)
        own = field == "architecture"
        if value in choices or (own and is_own(value)):
            continue
        more = ", or FILE.py:FUNCTION" if own else _WHY_NOT.get(value, "")
        problems.append(unknown(field, value, choices, more=more))
    return problems


def _check_workers(training: Training, cluster: Cluster) -> None:
    most, problems = least_and_most("workers", training.workers)[1], []
    if 0 < training.batch < most:
        problems.append(
            f"batch is {training.batch} for {training.workers} workers, expected at least one "
            "image a worker"
        )
    if cluster.gpus_per_worker in GPU_SHARES[1:] and most > 1:
        problems.append(
            f"gpus per worker is {cluster.gpus_per_worker} for {training.workers} workers, "
            "expected 1: NCCL joins no two workers on one GPU; one worker may have a share"
        )
    UserError.raise_if(problems)


def resolve_auto(training: Training, task: Task, examples: int) -> Training:
    """Returns the configuration for this task, with the task's augmentation in place of `auto`.

    Raises UserError where the task and its `examples` training examples cannot serve it.
    """
    if training.augmentation in ("shift-flip", "shift-flip-erase") and task.label_rule:
        raise UserError(
            f"augmentation {training.augmentation} changes the sum of pixels, from which "
            f"{task.name} takes its labels; expected none, flip, lossless-shift-flip or auto"
        )
    held_out = round(examples * training.validation)
    if examples - held_out < training.batch:
        raise UserError(
            f"batch is {training.batch}, but {task.name} has {examples - held_out} examples to "
            "train on; expected a batch no larger than that"
        )
    if training.augmentation == "auto":
        return replace(training, augmentation=task.augmentation)
    return training
