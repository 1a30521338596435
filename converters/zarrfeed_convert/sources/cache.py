"""What does a process keep in memory so as not to read it again?"""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

Thing = TypeVar("Thing")


class Cache(Generic[Thing]):
    """A least-recently-used cache. Thread-safe; pickled empty.

    Threads that ask for the same key at the same time share one call.

    Parameters
    ----------
    bound
        Total weight to keep.
    weigh
        Weight of a thing, such as its bytes.
    at_least
        How many things are kept whatever they weigh; by default one of images and one of masks.
    """

    def __init__(self, bound: int, weigh: Callable[[Thing], int], at_least: int = 2) -> None:
        self._bound, self._weigh, self._at_least = bound, weigh, at_least
        self._kept: OrderedDict[Hashable, Future[Thing]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Thing]) -> Thing:
        """Return the thing of a key, made if it is not cached."""
        with self._lock:
            there = key in self._kept
            future = self._kept.setdefault(key, Future())
            self._kept.move_to_end(key)
        if there:
            return future.result()
        try:
            thing = make()
        except BaseException as error:
            with self._lock:
                del self._kept[key]
            future.set_exception(error)
            raise
        future.set_result(thing)
        with self._lock:
            self._trim()
        return thing

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
