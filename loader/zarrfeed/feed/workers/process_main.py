"""A worker process: its arguments are the descriptors of its socket and of the arena.

Started fresh, never forked: it imports numpy and numcodecs, but neither Keras nor TensorFlow nor
the user's ``__main__``. It loads what it needs itself before it looks into the user's folders. It
ends when its socket is closed, so it cannot outlive its parent.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import select
import signal
import socket
import sys
import threading
import traceback
from contextlib import suppress

import cloudpickle  # noqa: F401 - the batch_spec's pickle needs it

from zarrfeed.errors import WorkerError, ZarrfeedError
from zarrfeed.feed.arena import Arena
from zarrfeed.feed.workers import Failure, wire
from zarrfeed.feed.workers.batch_maker import BatchMaker
from zarrfeed.feed.workers.transform_calls import error_text


def main(socket_descriptor: int, arena_descriptor: int) -> None:
    """Serve tasks until the parent hangs up."""
    with suppress(Exception):  # standard error may be closed
        faulthandler.enable()  # a crash in C names the line of Python that led to it
    # Ctrl-C goes to the whole process group; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = socket.socket(fileno=socket_descriptor)
    threading.Thread(target=_end_with_parent, args=(connection.fileno(),), daemon=True).start()
    # Both mean that the parent has closed the sequence, or is gone.
    with suppress(wire.Hangup, ConnectionError):
        _serve(connection, arena_descriptor)


def _serve(connection: socket.socket, arena_descriptor: int) -> None:
    setup = wire.receive_bytes(connection)
    try:
        maker, arena = _prepare(setup, arena_descriptor)
    except Exception as error:  # of any kind: the parent must hear of it
        wire.send_reply(connection, 0, _failure(error))
        return
    wire.send_reply(connection, 0, None)
    while True:
        task = wire.receive_task(connection)
        failure = None
        try:
            maker.do(task, arena)
        except BaseException as error:  # even SystemExit in a transform
            failure = _failure(error)
        wire.send_reply(connection, task.number, failure)


def _prepare(setup: bytes, arena_descriptor: int) -> tuple[BatchMaker, Arena]:
    path, slots, pickled_spec = pickle.loads(setup)
    sys.path[:] = path  # the user's functions find their modules where the parent does
    try:
        batch_spec = pickle.loads(pickled_spec)
    except Exception as error:
        raise WorkerError(
            f"worker process {os.getpid()} cannot load the transform: "
            f"{error_text(error, repr)}. It does not run your script (__main__): put what the "
            "transform uses into a module, or set use_multiprocessing=False"
        ) from error
    return BatchMaker(batch_spec), Arena(batch_spec.layout, slots, descriptor=arena_descriptor)


def _failure(error: BaseException) -> Failure:
    """Report an error of ours as it is, any other as a WorkerError; the traceback as a note."""
    text = error_text(error, lambda e: "".join(traceback.format_exception(e)).rstrip())
    if not isinstance(error, ZarrfeedError):
        error = WorkerError(f"worker process {os.getpid()} failed: {error_text(error, repr)}")
    note = f"In worker process {os.getpid()}:\n{text}"
    return Failure(type(error), error_text(error, str), note)


def _end_with_parent(descriptor: int) -> None:
    """End at once when the parent is gone, even in the middle of a slow transform."""
    watch = select.poll()
    watch.register(descriptor, 0)  # POLLHUP and POLLERR alone, which are always reported
    watch.poll()
    os._exit(0)
