"""Calls that wait for a network, several at once, which an interrupt does not wait for."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

A = TypeVar("A")
B = TypeVar("B")


def at_once(most: int, call: Callable[[A], B], items: Sequence[A]) -> list[B]:
    """`call` of each item, in order, `most` at a time. Raises the first exception that any of them raised.

    Unlike those of a ThreadPoolExecutor the threads are daemons: after Ctrl-C nobody waits for a slow model.
    """
    results: dict[int, B] = {}
    errors: list[BaseException] = []
    waiting = iter(list(enumerate(items)))
    lock = threading.Lock()

    def work() -> None:
        while not errors:
            with lock:
                at, item = next(waiting, (-1, None))
            if at < 0:
                return
            try:
                results[at] = call(item)  # type: ignore[arg-type]
            except BaseException as error:
                errors.append(error)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(most, len(items)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return [results[at] for at in range(len(items))]
