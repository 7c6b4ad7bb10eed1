"""Prints the matrix peak of this machine through TensorFlow, in GFLOP/s.

    python -m benchmarks.peak

It is measured in bfloat16 where the processor has instructions for it, else in float32. The speed
of shared machines varies by a factor of two between days, so seconds mean something beside it only.
"""

import subprocess
import sys

from fmnist import machine
from fmnist.models.tensorflow import import_tensorflow

SIZE, ROUNDS, EACH = 2048, 15, 4  # rows of the matrices, measurements, products in each


def measure() -> float:
    """Returns the median of the measurements, made in a process of its own that then ends."""
    command = [sys.executable, "-m", "benchmarks.peak"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    import_tensorflow()
    import tensorflow as tf

    from fmnist.training.worker.matrix_peak import matrix_peak

    kind = tf.bfloat16 if machine.has_bfloat16() else tf.float32
    peak = matrix_peak(kind, size=SIZE, rounds=ROUNDS, each=EACH)
    print(f"{kind.name} GFLOP/s: {peak / 1e9:.0f}")


if __name__ == "__main__":
    main()
