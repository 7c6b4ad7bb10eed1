"""Labels images with a published model: Parquet and submission.csv.

    python -m jobs.score --run fashion-cnn-0123456789ab
    python -m jobs.score --run s3://bucket/fmnist/runs/fashion-cnn-0123456789ab --data s3://bucket/images

The images are the test part of the data; a single Parquet or CSV file is all test part. Submitted
again, a finished job is found, and an unfinished one scores what is left.
"""

from dataclasses import dataclass, replace

from fmnist.errors import together
from fmnist.run_settings import Precision
from fmnist.scoring.settings import (
    PredictionSettings,
    Tta,
    check_actors,
    check_choices,
    check_model,
    resolve_precision,
)
from fmnist.tasks import TaskName
from jobs.support.config import job_config
from jobs.support.flags import ImageFlags, JobFlags, check_images, parse_flags
from jobs.support.launch import launch
from jobs.support.output import print_path


@dataclass(frozen=True, kw_only=True)
class Flags(JobFlags):
    run: str
    """Id of a run in the storage, or the folder or URI of one anywhere."""
    task: TaskName | str | None = None
    """fashion, competition or a task file; without it, what the model was trained for."""
    data: str = "auto"
    """Path or URI of image files, IDX files, CSV files or Parquet; auto: Fashion-MNIST."""
    storage: str = "results"
    """Where results go: a folder or s3://bucket/prefix."""
    max_bad_rows: int = 0
    """Images that can't be used and get no label; with more of them the job ends."""
    actors: int | str | None = None
    """Processes that score, or a range such as 2:16; by default as many as there is room for."""
    cpus_per_actor: int = 1
    """CPUs of each; where a process with one takes too much memory for the model."""
    gpu: bool = False
    """Predict on GPUs; the images are read and decoded on CPUs."""
    probabilities: bool = False
    """Also write the probability of each class."""
    tta: Tta = "none"
    """flip: mean probabilities of an image and its mirror image; takes twice as long."""
    precision: Precision = "float32"
    """bfloat16: mixed with float32; auto: bfloat16 where this machine has it, else float32."""


def parse() -> Flags:
    return parse_flags(Flags, __doc__)


def run(flags: Flags) -> None:
    images = ImageFlags(max_bad_rows=flags.max_bad_rows)
    together(
        lambda: check_choices(tta=flags.tta, precision=flags.precision, gpu=flags.gpu),
        lambda: check_actors(flags.actors),
        lambda: check_images(images),
    )
    from fmnist.scoring.inputs import find_inputs
    from fmnist.scoring.run import score
    from fmnist.stages import stage
    from jobs.support.connect import ensure_ray, job_storage
    from jobs.support.images import find_data
    from jobs.support.results import print_predictions
    from jobs.support.runs import find_model

    storage = job_storage(flags.storage)
    model = find_model(storage, flags.run, flags.task)
    precision = resolve_precision(flags.precision)
    settings = PredictionSettings(
        probabilities=flags.probabilities,
        tta=flags.tta,
        precision=precision,
        gpu=flags.gpu,
        cpus=flags.cpus_per_actor,
    )
    check_model(model, settings)
    data = find_data(flags.data, model.task, images, storage, scored=True)
    ensure_ray()
    with stage("reading and hashing the images"):
        inputs = find_inputs(model.task, data.place)
    manifest = score(
        model=model,
        inputs=inputs,
        storage=storage,
        actors=flags.actors,
        settings=settings,
        config=job_config("score", replace(flags, precision=precision)),
    )
    print_path(print_predictions(storage, manifest))


if __name__ == "__main__":
    launch(parse, run)
