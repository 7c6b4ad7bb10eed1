"""Named recipes of training: each says its command, its cost and its number.

The recipes that are named after minutes are meant to reach their accuracy on two CPU cores whose
bfloat16 matrix peak (`python -m benchmarks.peak`) is 860 GFLOP/s; elsewhere they take longer in
proportion. docs/records.md has the results of those that `benchmarks.time_to_accuracy` has
measured; what a recipe "aims at" is an estimate from operations. Seconds are for that machine.
"""

from dataclasses import replace
from typing import Literal

from fmnist.run_settings import Training

RecipeName = Literal[
    "report",
    "quick",
    "fashion-1min",
    "fashion-4min",
    "fashion-20min",
    "fashion-40min",
    "competition-2min",
    "competition-40min",
]

_FAST = Training(
    architecture="convnet",
    optimizer="muon",
    learning_rate=1.2e-2,
    schedule="one-cycle",
    weight_decay=0.05,
    batch=256,
    precision="auto",
    augmentation="auto",
)
_SMALL = replace(_FAST, architecture="convnet-small", augmentation="flip")
_LONG = replace(
    _FAST,
    architecture="resnet9",
    learning_rate=1.6e-2,
    batch=512,
    label_smoothing=0.1,
    augmentation="shift-flip",
)

RECIPES: dict[str, Training] = {
    # The settings of the report: 400 epochs at batch 1024. It reached 91.37% validation accuracy on
    # the `competition` task. About 2 hours on two CPU cores:
    #   python -m jobs.train --recipe report --task competition
    "report": Training(),
    # The default of jobs.train and jobs.retrain, the report's network learning faster. 92.7% of the
    # test images after 174 to 300 s on two cores:
    #   python -m jobs.train --recipe quick
    "quick": Training(
        learning_rate=2e-3,
        schedule="one-cycle",
        batch=256,
        epochs=13,
        precision="auto",
        augmentation="auto",
    ),
    # 26 TFLOP. 92.6% of the test images after 50 s; shifted images would need more epochs to pay:
    #   python -m jobs.train --recipe fashion-1min --validation 0
    "fashion-1min": replace(_SMALL, epochs=5),
    # 74 TFLOP. 93.7% of the test images after 130 s:
    #   python -m jobs.train --recipe fashion-4min --validation 0
    "fashion-4min": replace(_SMALL, epochs=14, label_smoothing=0.1),
    # 300 TFLOP. 94.9% of the test images after 12 minutes:
    #   python -m jobs.train --recipe fashion-20min --validation 0
    "fashion-20min": replace(_LONG, epochs=12),
    # 590 TFLOP. 95.1% of the test images after 20 minutes:
    #   python -m jobs.train --recipe fashion-40min --validation 0
    "fashion-40min": replace(_LONG, epochs=24),
    # 59 TFLOP. 95.0% of the test images after 136 s; the report's score was 91.84%:
    #   python -m jobs.train --recipe competition-2min --task competition --validation 0
    "competition-2min": replace(_FAST, architecture="convnet-brightness", epochs=5),
    # 490 TFLOP. 96.6% of the test images after 17 minutes:
    #   python -m jobs.train --recipe competition-40min --task competition --validation 0
    "competition-40min": replace(
        _LONG,
        architecture="resnet9-brightness",
        epochs=20,
        augmentation="lossless-shift-flip",
        label_smoothing=0.0,
    ),
}
