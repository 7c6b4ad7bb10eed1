"""Tries of what boto does not try again itself."""

import random
import time
from collections.abc import Iterator

TRIES = 8


def tries() -> Iterator[bool]:
    """Yields for each try whether it is the last; waits a random time, which grows, between two.

    Not tenacity's retries: a download goes on where it broke off, and only errors of its body count
    here, since boto has retried all others already.
    """
    for number in range(TRIES):
        if number:
            time.sleep(random.uniform(0, 0.05 * 2 ** (number - 1)))
        yield number == TRIES - 1
