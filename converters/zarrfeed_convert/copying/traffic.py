"""How are many files transferred at a time, and what stops them?"""

from __future__ import annotations

import threading
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, TypeVar

from zarrfeed.errors import ReadError, look_up
from zarrfeed.store.objects.object_transfers import Stopped
from zarrfeed_convert.byte_digest import ByteDigest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from typing_extensions import Buffer

    from zarrfeed_convert.copying.description import SplitFile
    from zarrfeed_convert.planning.planner import OnProgress

T = TypeVar("T")
_TELL_EVERY_S = 0.2
_UNIT = 1 << 20


class Traffic:
    """Counts the bytes that are transferred, and ends all transfers if one fails.

    Parameters
    ----------
    step
        What is done, for `progress`.
    total, done
        Number of all bytes, and of those that are there.
    progress
        Called with the step, and the MiB that are done, and all of them.
    stop
        Is set when a transfer fails, and ends the others.
    """

    def __init__(
        self,
        step: str,
        total: int,
        done: int,
        progress: OnProgress | None,
        stop: threading.Event,
    ) -> None:
        self._step, self._total, self._done = step, total, done
        self._progress, self._stop = progress, stop
        self._lock = threading.Lock()

    def count(self, nbytes: int) -> None:
        """Count bytes, which are negative if they must be transferred again.

        Raises
        ------
        Stopped
            Another transfer has failed.
        """
        if self._stop.is_set():
            raise Stopped
        with self._lock:
            self._done += nbytes

    def counted(self, pieces: Iterable[Buffer]) -> Iterator[Buffer]:
        """Yield pieces, and count their bytes."""
        for piece in pieces:
            yield piece
            self.count(memoryview(piece).nbytes)

    def run(self, task: Callable[[T], None], items: Sequence[T], *, at_once: int) -> None:
        """Run a task for each item in threads; raise the first error when all have ended."""
        self._tell()
        pool = ThreadPoolExecutor(at_once, thread_name_prefix="zarrfeed-copy")
        done: set[Future[None]] | None
        left: set[Future[None]] | None
        try:
            left = {pool.submit(task, item) for item in items}
            while left:
                done, left = wait(left, _TELL_EVERY_S, FIRST_EXCEPTION)
                self._tell()
                while done:
                    done.pop().result()
        except BaseException:
            self._stop.set()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
            done = left = None  # whose errors have this frame: in a circle, files close late

    def _tell(self) -> None:
        if self._progress is not None:
            mib = [-(-count // _UNIT) for count in (self._done, self._total)]
            self._progress(self._step, *mib)


def checked(pieces: Iterable[Buffer], file: SplitFile, path: str) -> Iterator[Buffer]:
    """Yield the pieces of a file. The last one is held back until size and digest are right.

    Parameters
    ----------
    pieces
        All bytes of the file.
    file
        What is known of it.
    path
        Its path or address, for the message.

    Raises
    ------
    ReadError
        It has another size or digest than recorded, so that the store is damaged, or was replaced.
    """
    digest, held = ByteDigest(), None
    for piece in digest.of(pieces):
        if held is not None:
            yield held
        held = piece
    if not file.is_right(*digest.fact):
        raise ReadError(wrong_bytes(path, file, *digest.fact))
    if held is not None:
        yield held


def wrong_bytes(path: str, file: SplitFile, nbytes: int, xxh3: int) -> str:
    """Return the message that a file has other bytes than recorded."""
    if nbytes != file.nbytes:
        what = f"needed {file.nbytes} bytes, found {nbytes}"
    else:
        what = f"needed bytes of xxh3_64 {file.xxh3 or 0:016x}, found {xxh3:016x}"
    return (
        f"{path}: {what}: it is damaged, or was replaced meanwhile; repeat the command, or check "
        f"the original with `zarrfeed verify`{look_up('damaged-store')}"
    )
