"""The main function of a worker process.

The process is started, not forked. It imports numpy and numcodecs, but neither Keras nor TensorFlow
nor the user's ``__main__``. It imports its own modules before it adds the user's folders to the
path. It ends when its socket is closed, so that it cannot outlive its parent.
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

import cloudpickle  # noqa: F401 - unpickling the batch spec needs it

from zarrfeed.errors import WorkerError, ZarrfeedError, look_up
from zarrfeed.feed.arena import Arena
from zarrfeed.feed.workers import Failure, wire
from zarrfeed.feed.workers.batch_maker import BatchMaker
from zarrfeed.feed.workers.transform_calls import error_text
from zarrfeed.store.codecs import import_decoders


def main(socket_descriptor: str, arena_descriptor: str) -> None:
    """Do tasks until the parent closes the connection.

    Parameters
    ----------
    socket_descriptor, arena_descriptor
        Inherited descriptors of the socket and of the arena's memory, as text.
    """
    with suppress(Exception):  # standard error may be closed
        faulthandler.enable()  # prints the line of Python at which C code crashes
    # Ctrl-C goes to the whole process group, but only the parent handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = socket.socket(fileno=int(socket_descriptor))
    threading.Thread(target=_end_with_parent, args=(connection.fileno(),), daemon=True).start()
    # Both mean that the parent has closed the sequence or has ended.
    with suppress(wire.Hangup, ConnectionError):
        _serve(connection, int(arena_descriptor))


def _serve(connection: socket.socket, arena_descriptor: int) -> None:
    setup = wire.receive_bytes(connection)
    try:
        maker, arena = _prepare(setup, arena_descriptor)
    except Exception as error:  # the parent reports errors of any kind
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
    import_decoders()
    sys.path[:] = path  # the user's functions import modules from the same folders as in the parent
    try:
        batch_spec = pickle.loads(pickled_spec)
    except Exception as error:
        raise WorkerError(
            f"worker process {os.getpid()} cannot load the transform: "
            f"{error_text(error, repr)}. It does not run your script (__main__): put what the "
            "transform uses into a module, or set use_multiprocessing=False"
            f"{look_up('transform-copies')}"
        ) from error
    return BatchMaker(batch_spec), Arena(batch_spec.layout, slots, descriptor=arena_descriptor)


def _failure(error: BaseException) -> Failure:
    """Report zarrfeed's errors as they are and others as a ``WorkerError``, with the traceback."""
    text = error_text(error, lambda e: "".join(traceback.format_exception(e)).rstrip())
    if not isinstance(error, ZarrfeedError):
        error = WorkerError(f"worker process {os.getpid()} failed: {error_text(error, repr)}")
    note = f"In worker process {os.getpid()}:\n{text}"
    return Failure(type(error), error_text(error, str), note)


def _end_with_parent(descriptor: int) -> None:
    """End at once when the parent has ended, even during a slow transform."""
    watch = select.poll()
    watch.register(descriptor, 0)  # reports only POLLHUP and POLLERR
    watch.poll()
    os._exit(0)
