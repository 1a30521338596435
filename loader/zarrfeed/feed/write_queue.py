"""Call functions in order in another thread, and none after the first error."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from typing import Any


class WriteQueue:
    """Calls functions one after the other in a thread, such as those that write.

    Use it as a context manager, which waits for the last call and raises its error. If the context
    ends with an error of its own, calls that wait are made nevertheless: what they write is right.

    Parameters
    ----------
    most_waiting
        Calls that may wait.
    """

    def __init__(self, most_waiting: int) -> None:
        self._most_waiting = most_waiting
        self._pool = ThreadPoolExecutor(1)
        self._calls: deque[Future[None]] = deque()
        self._failed = False

    def put(self, function: Callable[..., None], *arguments: Any) -> None:
        """Call a function after those before it; raises the error of a former call."""
        self._calls.append(self._pool.submit(self._call, function, *arguments))
        while self._calls and (len(self._calls) > self._most_waiting or self._calls[0].done()):
            self._calls.popleft().result()

    def _call(self, function: Callable[..., None], *arguments: Any) -> None:
        if self._failed:
            return  # this function continues what the former one did
        try:
            function(*arguments)
        except BaseException:
            self._failed = True
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._pool.shutdown()
        if kind is None:
            for call in self._calls:
                call.result()
