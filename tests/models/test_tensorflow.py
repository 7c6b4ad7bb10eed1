"""Importing TensorFlow loads only what is used, and hides GPUs that were not asked for."""

import subprocess
import sys

from tests.support.paths import ROOT

SCRIPT = """
import sys
from fmnist.models.tensorflow import import_tensorflow
import_tensorflow()
import fmnist.scoring.actor
import fmnist.training.worker.main
assert "tensorflow" in sys.modules
print(sorted({"sklearn", "scipy"} & sys.modules.keys()))
import scipy.sparse
import sklearn.metrics
"""


def test_a_worker_starts_without_what_it_only_needs_at_its_end() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"
