"""Where do relative paths begin, when a process works for several conversions?

A process has one working directory for all its threads. The first task takes it to where its
conversion was begun, the last one back; tasks that need another folder wait meanwhile.
"""

from __future__ import annotations

import os
import platform
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from zarrfeed.errors import WorkerError

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATIENCE_S = 60

_changed = threading.Condition()
_folder: str | None = None
_before = ""  # where the process was
_inside = 0  # tasks


@contextmanager
def within_folder(folder: str | None, *, home: str, here: str) -> Iterator[None]:
    """Work in a folder.

    Parameters
    ----------
    folder
        Where the conversion was begun; None where it does not matter.
    home, here
        Name the machine where that was, and this process, for errors.

    Raises
    ------
    WorkerError
        There is no such folder here, or others need another one all the time.
    """
    if folder is None:
        yield
        return
    _enter(folder, home, here)
    try:
        yield
    finally:
        _leave()


def _enter(folder: str, home: str, here: str) -> None:
    global _folder, _before, _inside
    deadline = time.monotonic() + _PATIENCE_S
    with _changed:
        while _folder not in (None, folder):
            if not _changed.wait(deadline - time.monotonic()):
                raise WorkerError(
                    f"{here}: a conversion that was begun in {_folder} has kept the worker for "
                    f"{_PATIENCE_S} s; give absolute paths of images and masks, which need not wait"
                )
        if _folder is None:
            _before = str(Path.cwd())
            try:
                os.chdir(folder)
            except OSError as error:
                raise WorkerError(
                    f"{here} on {platform.node()}: has no folder {folder}, where the conversion "
                    f"was begun on {home} ({error.strerror}); give absolute paths of images and "
                    "masks, which every worker can read"
                ) from error
            _folder = folder
        _inside += 1


def _leave() -> None:
    global _folder, _inside
    with _changed:
        _inside -= 1
        if not _inside:
            with suppress(OSError):  # it is gone
                os.chdir(_before)
            _folder = None
            _changed.notify_all()
