"""What does a process of a `ProcessExecutor` do?

It receives the context once, then tasks until there are no more, and writes what it reads to the
board. It ignores Ctrl-C, which its parent handles, and ends when its parent ends.
"""

from __future__ import annotations

import pickle
import signal
import sys
import traceback
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

import cloudpickle

from zarrfeed.errors import WorkerError, ZarrfeedError
from zarrfeed_convert.executors.executor import Outcome, TaskRun, single_threaded_blosc
from zarrfeed_convert.supervision.board import Board, take
from zarrfeed_convert.supervision.child import end_with_parent
from zarrfeed_convert.supervision.watch import limit_memory

if TYPE_CHECKING:
    from zarrfeed_convert.executors.executor import Task


class _Stopped(Exception):  # noqa: N818 (a request, not an error)
    """The run has ended, so that the result of this task is not needed."""


def main() -> None:
    """Serve an executor. Arguments: descriptors of the connection and the board, and the place."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    descriptor, shared, number = map(int, sys.argv[1:])
    connection: Connection[Any, Any] = Connection(descriptor)
    end_with_parent(descriptor)
    limit_memory()
    board = Board(1 + number, shared)
    place = board.place(number)
    take(place)

    def after_sample() -> None:
        if board.stops:
            raise _Stopped
        place.ticks += 1

    try:
        context: Any = cloudpickle.loads(connection.recv_bytes())
    except Exception as error:  # the parent reports any
        connection.send_bytes(_failure(error))
        return
    with single_threaded_blosc():
        while (asked := connection.recv()) is not None:
            task, item, lost = asked
            connection.send_bytes(_answer(task, TaskRun(context, after_sample, lost), item))


def _answer(task: Task[Any, Any], run: TaskRun[Any], item: Any) -> bytes:
    try:
        return pickle.dumps(Outcome(task(run, item), run.failed, run.ticks))
    except _Stopped:
        return pickle.dumps(None)
    except BaseException as error:  # including a SystemExit of a decoder
        return _failure(error)


def _failure(error: BaseException) -> bytes:
    """Pickle an exception; wrap it, with its traceback, unless it is one of ours or an OSError."""
    text = "".join(traceback.format_exception(error))
    try:
        if isinstance(error, ZarrfeedError | OSError):
            pickle.loads(pickle.dumps(error))
            return pickle.dumps(error)
    except Exception:  # it cannot be unpickled
        pass
    wrapped = WorkerError(f"a packing process failed: {error!r}")
    wrapped.add_note(text.rstrip())
    return pickle.dumps(wrapped)
