"""What does a process keep in memory to avoid reading it again?"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

Value = TypeVar("Value")


def file_version(path: str) -> tuple[str, int, int]:
    """Return a key of what was read from a file, which is another one if it is written anew."""
    about = os.stat(path)  # noqa: PTH116
    return path, about.st_mtime_ns, about.st_size


def _one(_: object) -> int:
    return 1


class Cache(Generic[Value]):
    """A least-recently-used cache. It is thread-safe, and pickled without its values.

    Threads that request the same key at the same time share one call of `make`.

    Parameters
    ----------
    bound
        Total weight of the values to keep.
    weigh
        Function that returns the weight of a value, such as its bytes; by default each weighs 1.
    at_least
        Number of values to keep regardless of `bound`; by default one for images and one for
        masks.
    """

    def __init__(self, bound: int, weigh: Callable[[Value], int] = _one, at_least: int = 2) -> None:
        self._bound, self._weigh, self._at_least = bound, weigh, at_least
        self._kept: OrderedDict[Hashable, Future[Value]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return the value of a key. If it is not cached, call `make` to create it."""
        with self._lock:
            there = key in self._kept
            future = self._kept.setdefault(key, Future())
            self._kept.move_to_end(key)
        if there:
            return future.result()
        try:
            value = make()
        except BaseException as error:
            with self._lock:
                del self._kept[key]
            future.set_exception(error)
            raise
        future.set_result(value)
        with self._lock:
            self._trim()
        return value

    def _trim(self) -> None:
        done = [(key, future) for key, future in self._kept.items() if future.done()]
        total = sum(self._weigh(future.result()) for _, future in done)
        for key, future in done[: -self._at_least]:
            if total <= self._bound:
                return
            total -= self._weigh(future.result())
            del self._kept[key]

    def __reduce__(self) -> tuple[Any, ...]:
        return Cache, (self._bound, self._weigh, self._at_least)
