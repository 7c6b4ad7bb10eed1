"""All mistakes in a configuration are in one error."""

from dataclasses import asdict, replace

import pytest

from fmnist.errors import UserError
from fmnist.recipes import RECIPES
from fmnist.run_settings import Cluster, Training, check, least_and_most, resolve_auto
from fmnist.runs.ids import FORMAT, run_id
from fmnist.tasks import COMPETITION, FASHION, Task


def test_the_recipes_are_sound():
    for recipe in RECIPES.values():
        check(recipe, Cluster())
        resolve_auto(recipe, FASHION, 60_000)


def test_the_report_is_as_published():
    report = RECIPES["report"]
    assert (report.optimizer, report.learning_rate, report.schedule) == ("adam", 1e-4, "constant")
    assert (report.batch, report.epochs, report.augmentation) == (1024, 400, "none")


def test_every_mistake_is_in_the_message_with_what_was_expected():
    wrong = Training(
        architecture="vgg", optimizer="adamw", batch=0, epochs=-1, learning_rate=float("nan")
    )
    with pytest.raises(UserError) as error:
        check(wrong, Cluster(keep_checkpoints=0))
    message = str(error.value)
    for part in ("6 mistakes", "'vgg'", "cnn", "'adamw'", "rmsprop", "batch is 0", "epochs is -1"):
        assert part in message
    assert "learning rate is nan" in message and "keep checkpoints is 0" in message


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("learning_rate", float("inf")),
        ("learning_rate", 0),
        ("weight_decay", -0.1),
        ("label_smoothing", 1),
        ("average_weights", float("nan")),
        ("validation", 1),
        ("seed", -1),
        ("epochs", 100_000),
    ],
)
def test_numbers_out_of_range_are_refused(field, value):
    with pytest.raises(UserError, match=field.replace("_", " ")):
        check(replace(Training(), **{field: value}), Cluster())


def test_a_batch_smaller_than_the_workers_is_refused():
    with pytest.raises(UserError, match="batch is 2 for 3 workers"):
        check(Training(batch=2, workers=3), Cluster())


@pytest.mark.parametrize("workers", ["4:1", "0:2", "a:b", "1:", "", "1:2:3", 0, -1])
def test_a_range_of_workers_that_is_none_is_refused_with_the_other_mistakes(workers):
    with pytest.raises(UserError) as error:
        check(Training(workers=workers, epochs=0), Cluster())
    for part in ("2 mistakes", f"workers is {workers}", "such as 1:4", "epochs is 0"):
        assert part in str(error.value)


def test_a_range_of_workers_needs_an_image_for_each():
    check(Training(workers="1:4", batch=4), Cluster())
    assert least_and_most("workers", "1:4") == (1, 4)
    assert least_and_most("workers", 3) == (3, 3)
    with pytest.raises(UserError, match="batch is 3 for 1:4 workers"):
        check(Training(workers="1:4", batch=3), Cluster())


@pytest.mark.parametrize("workers", [2, "1:4"])
def test_several_workers_share_no_gpu(workers):
    """NCCL refuses two ranks on one GPU. Only runs of one worker may share a GPU."""
    check(Training(), Cluster(gpu=True, gpus_per_worker=0.1))
    expected = f"^gpus per worker is 0.5 for {workers} workers, expected 1: NCCL"
    with pytest.raises(UserError, match=expected):
        check(Training(workers=workers), Cluster(gpu=True, gpus_per_worker=0.5))
    with pytest.raises(UserError, match=r"^gpus per worker is 0\.3, expected one of 1, 0\.5"):
        check(Training(workers=workers), Cluster(gpu=True, gpus_per_worker=0.3))


def test_float16_is_refused_with_the_reason_and_what_remains():
    expected = "'float16': expected one of auto, float32, bfloat16 .*without loss scaling"
    with pytest.raises(UserError, match=expected):
        check(Training(precision="float16"), Cluster())


def test_the_best_epoch_can_not_be_selected_without_validation():
    with pytest.raises(UserError, match="select is best without validation images, expected last"):
        check(Training(select="best", validation=0), Cluster())


def test_the_ids_of_runs_stay_as_they_are():
    quick = RECIPES["quick"]
    assert run_id(FASHION, quick, "f") == "fashion-cnn-da3914610a8f"
    assert run_id(FASHION, replace(quick, deterministic=False), "f") == "fashion-cnn-02e41406804e"


def test_whoever_changes_a_default_raises_the_format_of_ids():
    """An id has no settings that have their defaults, so those belong to the format."""
    defaults = {
        "architecture": "cnn",
        "activation": "relu",
        "optimizer": "adam",
        "learning_rate": 1e-4,
        "schedule": "constant",
        "weight_decay": 0.0,
        "label_smoothing": 0.0,
        "average_weights": 0.0,
        "batch": 1024,
        "epochs": 400,
        "precision": "float32",
        "augmentation": "none",
        "select": "last",
        "validation": 0.1,
        "seed": 0,
        "workers": 1,
        "deterministic": True,
        "ingest": "memory",
        "initial_weights": None,
        "freeze": 0,
    }
    assert (FORMAT, asdict(Training())) == (4, defaults)


def test_a_number_is_the_same_to_a_runs_id_with_and_without_a_point():
    whole = replace(RECIPES["quick"], validation=0, learning_rate=1)
    assert run_id(FASHION, whole, "f") == run_id(
        FASHION, replace(whole, validation=0.0, learning_rate=1.0), "f"
    )


def test_the_augmentation_follows_the_task():
    quick, own = RECIPES["quick"], Task(name="own", classes=("a", "b"), shape=(8, 8, 1))
    found = [resolve_auto(quick, task, 60_000).augmentation for task in (FASHION, COMPETITION, own)]
    assert found == ["shift-flip", "flip", "none"]


@pytest.mark.parametrize("name", ["shift-flip", "shift-flip-erase"])
def test_an_augmentation_that_would_corrupt_the_label_is_refused(name):
    with pytest.raises(UserError, match=f"{name} changes the sum of pixels"):
        resolve_auto(Training(augmentation=name), COMPETITION, 60_000)
    resolve_auto(Training(augmentation="lossless-shift-flip"), COMPETITION, 60_000)


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(UserError, match="batch is 1024, but fashion has 900 examples"):
        resolve_auto(Training(), FASHION, 1000)
