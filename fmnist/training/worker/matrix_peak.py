"""Measures how fast this process multiplies matrices: training reaches a share of that."""

import time
from statistics import median
from typing import Any

import tensorflow as tf

from fmnist.models.architectures import flops

# Larger matrices are multiplied until a product takes so many seconds: a CPU is measured in a
# fraction of a second, and a GPU with matrices that are large enough for it.
SMALLEST, LONG_ENOUGH = 1024, 0.005


def matrix_peak(dtype: tf.DType, *, size: int, rounds: int, each: int) -> float:
    """Returns operations per second: the median of so many `rounds` of `each` products.

    The matrices have `size` rows and columns. It takes the threads and the device that training
    takes.
    """
    matrix = tf.cast(tf.random.stateless_normal((size, size), (0, 0)), dtype)
    product = tf.function(lambda: tf.matmul(matrix, matrix))
    product().numpy()
    rates = []
    for _ in range(rounds):
        begin = time.perf_counter()
        for _ in range(each):
            found = product()
        found[0, 0].numpy()  # waits for the products, and copies next to nothing from a GPU
        rates.append(2 * size**3 * each / (time.perf_counter() - begin))
    return median(rates)


def images_at_peak(model: Any, precision: str, world: int) -> float:
    """Returns how many images a second `world` such processes would train on at their peak."""
    size, dtype = SMALLEST, tf.as_dtype(precision)
    while True:
        peak = matrix_peak(dtype, size=size, rounds=5, each=1)
        if 2 * size**3 / peak > LONG_ENOUGH:
            return world * peak / flops(model)
        size *= 2
