"""Prints the matrix peak of this machine through TensorFlow, in GFLOP/s.

    python -m benchmarks.peak

It is measured in bfloat16 where the processor has instructions for it, else in float32. The speed
of shared machines varies by a factor of two between days, so seconds mean something beside it only.
"""

import subprocess
import sys
import time

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

    kind = tf.bfloat16 if machine.has_bfloat16() else tf.float32
    matrix = tf.cast(tf.random.stateless_normal((SIZE, SIZE), (0, 0)), kind)
    product = tf.function(lambda: tf.matmul(matrix, matrix))
    product()
    rates = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        for _ in range(EACH):
            found = product()
        found.numpy()
        rates.append(2 * SIZE**3 * EACH / (time.perf_counter() - begin) / 1e9)
    print(f"{kind.name} GFLOP/s: {sorted(rates)[ROUNDS // 2]:.0f}")


if __name__ == "__main__":
    main()
