"""Work that is repeated in a thread beside a block, such as reading the news of an actor."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def polling(call: Callable[[], None], *, every: float) -> Iterator[None]:
    """Makes the call every `every` seconds in a thread, and a last time when the block ends.

    The call must handle its own errors: what it raises ends the thread.
    """
    block_ended = threading.Event()

    def poll() -> None:
        last = False
        while not last:
            last = block_ended.wait(every)
            call()

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield
    finally:
        block_ended.set()
        thread.join()
