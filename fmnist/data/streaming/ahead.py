"""Work that a thread does before its result is needed."""

import queue
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import TypeVar, cast

Item = TypeVar("Item")


def ahead(items: Iterator[Item], most: int) -> Iterator[Item]:
    """Yields the items in their order; a thread makes at most `most` of them in advance.

    What the iterator raises, is raised here in the place of the item. The thread ends with the
    process, or soon after nobody asks for items any more.
    """
    made: queue.Queue[tuple[Item | None, BaseException | None]] = queue.Queue(most)
    abandoned = threading.Event()

    def make() -> None:
        try:
            for item in items:
                made.put((item, None))
                if abandoned.is_set():
                    return
            made.put((None, StopIteration()))
        except BaseException as error:
            made.put((None, error))

    threading.Thread(target=make, daemon=True).start()
    try:
        while True:
            item, error = made.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield cast(Item, item)
    finally:
        abandoned.set()
        with suppress(queue.Empty):  # makes room, in case that the thread waits for it
            while True:
                made.get_nowait()
