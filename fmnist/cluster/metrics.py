"""The metrics of jobs: Ray exports them with its own, from each node, for Prometheus to read.

Ray puts `ray_` before each name, and takes new values from a process every 10 seconds and when it
ends. It drops a gauge about 20 seconds after it was set last, and a counter when the node ends.
`docs/grafana.json` is a dashboard of all of them.
"""

from dataclasses import dataclass
from functools import cached_property

from ray.util import metrics


@dataclass(frozen=True, kw_only=True)
class Gauge:
    """A number that goes up and down, for each combination of its labels."""

    name: str
    description: str  # with the unit
    labels: tuple[str, ...]

    def set(self, value: float, **labels: str) -> None:
        """Sets the number; all labels must be given."""
        self._metric.set(value, tags=labels)

    @cached_property
    def _metric(self) -> metrics.Gauge:
        # At first use: a process that only imports this module has no metrics.
        return metrics.Gauge(self.name, self.description, self.labels)


@dataclass(frozen=True, kw_only=True)
class Counter:
    """A number that only grows, for each combination of its labels; its name ends with `_total`."""

    name: str
    description: str  # with the unit
    labels: tuple[str, ...]

    def add(self, value: float, **labels: str) -> None:
        """Adds to the number, which nothing does if `value` is 0; all labels must be given."""
        if value:
            self._metric.inc(value, tags=labels)

    @cached_property
    def _metric(self) -> metrics.Counter:
        return metrics.Counter(self.name, self.description, self.labels)


RUN = ("run",)  # the id of a run

TRAINING_LOSS = Gauge(
    name="fmnist_training_loss",
    description="Mean loss over the training images in the last epoch, in nats.",
    labels=RUN,
)
TRAINING_ACCURACY = Gauge(
    name="fmnist_training_accuracy",
    description="Accuracy on the training images in the last epoch, a share of one.",
    labels=RUN,
)
VALIDATION_LOSS = Gauge(
    name="fmnist_validation_loss",
    description="Mean loss over the validation images after the last epoch, in nats.",
    labels=RUN,
)
VALIDATION_ACCURACY = Gauge(
    name="fmnist_validation_accuracy",
    description="Accuracy on the validation images after the last epoch, a share of one.",
    labels=RUN,
)
TRAINING_SPEED = Gauge(
    name="fmnist_training_images_per_second",
    description="Images per second that a run trained on in the last epoch.",
    labels=RUN,
)
SHARE_OF_PEAK = Gauge(
    name="fmnist_training_share_of_peak",
    description="Speed of the last epoch beside that of matrix products alone, a share of one.",
    labels=RUN,
)
TRAINING_PROGRESS = Gauge(
    name="fmnist_training_progress",
    description="Steps of a run that are done, a share of one.",
    labels=RUN,
)
SECONDS_LOST = Counter(
    name="fmnist_training_lost_seconds_total",
    description="Seconds in which a run did not train, since its workers had failed.",
    labels=RUN,
)
IMAGES_SCORED = Counter(
    name="fmnist_scored_images_total",
    description="Images that were scored with the model of a run.",
    labels=RUN,
)
IMAGES_LEFT_OUT = Counter(
    name="fmnist_bad_images_total",
    description="Image files that could not be used, in data sets that were decoded.",
    labels=("task",),
)
RETRAININGS = Counter(
    name="fmnist_retrainings_total",
    description="Retrainings that were published, by outcome.",
    labels=("task", "outcome"),
)
CHAMPION_SINCE = Gauge(
    name="fmnist_champion_since_seconds",
    description="When the champion became champion, in seconds since 1970.",
    labels=("task",),
)
