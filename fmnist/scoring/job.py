"""One scoring job: the model, the images, how it scores, and the id of its result."""

from dataclasses import dataclass

from fmnist.job_config import JobConfig
from fmnist.runs.published import PublishedModel
from fmnist.scoring.inputs import Inputs
from fmnist.scoring.predictions import LABELS, predictions_folder
from fmnist.scoring.settings import USUAL, PredictionSettings
from fmnist.storage.manifest import content_id
from fmnist.storage.open import Storage

FORMAT = 3  # raised when the same model and images would give other files


def predictions_id(
    model: PublishedModel, inputs: Inputs, settings: PredictionSettings = USUAL
) -> str:
    """Id that follows from model, images and settings alone: a second job finds the result."""
    images, probabilities = inputs.fingerprint, settings.probabilities
    return content_id(FORMAT, model.run, model.sha256, images, probabilities, *settings.id_parts)


@dataclass(frozen=True, kw_only=True)
class ScoringJob:
    """The settings of a scoring job whose model and images were found.

    `pool_size` is the number of actors at first, and at most. Files have at least `rows_per_file`
    rows: a killed job scores again at most what its unfinished file would hold. `config` has the
    flags of the command, which are published too.
    """

    model: PublishedModel
    inputs: Inputs
    storage: Storage
    pool_size: tuple[int, int]
    settings: PredictionSettings
    rows_per_file: int
    config: JobConfig | None = None

    @property
    def id(self) -> str:
        """Id of the result."""
        return predictions_id(self.model, self.inputs, self.settings)

    @property
    def folder(self) -> str:
        """Folder in the storage root that holds the result."""
        return predictions_folder(self.id)

    @property
    def labels_folder(self) -> str:
        """Folder in the storage root that holds the files of predictions."""
        return f"{self.folder}/{LABELS}"
