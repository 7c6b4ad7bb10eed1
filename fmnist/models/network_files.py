"""The user's files that networks are made of: functions of their own, and initial weights."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from fmnist.models.own_network import DIGITS, OwnNetwork
from fmnist.run_settings import Training

if TYPE_CHECKING:
    import ray


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """A `.keras` file; `given` is its place as the user wrote it."""

    given: str
    place: str  # an absolute path or a URI, except in a submitted job
    data: "bytes | ray.ObjectRef" = field(repr=False)  # in Ray's object store once it is shared
    digest: str

    @classmethod
    def of(cls, given: str, place: str, data: bytes) -> "WeightsFile":
        """Makes the file of its bytes."""
        digest = hashlib.sha256(data).hexdigest()[:DIGITS]
        return cls(given=given, place=place, data=data, digest=digest)

    def read(self) -> bytes:
        """Returns the file's bytes, in any process of the cluster."""
        import ray

        found: bytes = self.data if isinstance(self.data, bytes) else ray.get(self.data)
        return found


@dataclass(frozen=True, kw_only=True)
class NetworkFiles:
    """The files that the settings of some runs name.

    In settings of which an id is made, a network and a file of weights have names that follow from
    their content alone: `OwnNetwork.name` and `WeightsFile.digest`.
    """

    networks: Sequence[OwnNetwork] = ()
    weights: Sequence[WeightsFile] = ()

    def named(self, training: Training) -> Training:
        """Returns the settings with names that follow from the content of the files."""
        network, weights = self.network(training), self.initial_weights(training)
        return replace(
            training,
            architecture=network.name if network else training.architecture,
            initial_weights=weights.digest if weights else training.initial_weights,
        )

    def network(self, training: Training) -> OwnNetwork | None:
        """Returns the user's network that these settings name; None for ours."""
        names = (each for each in self.networks if training.architecture in (each.given, each.name))
        return next(names, None)

    def initial_weights(self, training: Training) -> WeightsFile | None:
        """Returns the file that these settings name, if any."""
        wanted = training.initial_weights
        return next((each for each in self.weights if wanted in (each.given, each.digest)), None)

    def shared(self) -> "NetworkFiles":
        """Returns them with the weights in Ray's object store."""
        import ray

        weights = [replace(each, data=ray.put(each.read())) for each in self.weights]
        return replace(self, weights=weights)

    def written(self) -> dict[str, str]:
        """Returns, by what flags and settings call the files, what a configuration calls them.

        That is the name of a network, since only a flag can name a file with code.
        """
        networks = {each.given: each.name for each in self.networks}
        weights = {name: each.place for each in self.weights for name in (each.given, each.digest)}
        return networks | weights


NO_FILES = NetworkFiles()
