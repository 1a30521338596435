"""What is a process reading? A board shows it to other processes, even after a crash or hang.

Libraries that decode files of unknown origin crash or hang on some of them. Therefore they run in
separate processes. Each process writes what it is about to read to a board, anonymous memory shared
with the process that watches it::

    page 0      stop: whether the workers must end; patience: seconds
    page 1 …    a place per process: serial, ticks, item, what it reads, the file opened last

A place has one writer. While that process runs, a reader may see half a name. Once the process has
crashed or hangs, which is when the name is needed, the entry is complete.
"""

from __future__ import annotations

import mmap
import os
import sys
import tempfile
from contextlib import contextmanager
from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

# Seconds that reading one sample may take, in addition to the time that its size allows.
PATIENCE_S = 120.0

_PAGE = 4096
_HEADER = Struct("<Bd")
_SERIAL, _TICKS, _AT = Struct("<Q"), Struct("<Q"), Struct("<qHH")
_SERIAL_AT, _TICKS_AT, _AT_AT, _NAMES_AT = 0, 8, 16, 32
_NAME_NBYTES = 1984
NO_ITEM = -1


class Reading(NamedTuple):
    """What a process is reading.

    Attributes
    ----------
    name
        Name of the input, as the user knows it; empty while nothing is read.
    file
        File that was opened last for it; may be empty.
    item
        Index of the sample in the source; -1 if it is not a sample.
    """

    name: str
    file: str
    item: int

    def __str__(self) -> str:
        return f"{self.name} (in {self.file})" if self.file not in self.name else self.name


NOTHING = Reading("", "", NO_ITEM)


class Board:
    """Shared memory that shows what processes are reading.

    Parameters
    ----------
    places
        Number of processes. To open an existing board, the places up to one's own are enough.
    descriptor
        File descriptor of a board that another process has created; None to create one.

    Attributes
    ----------
    places
        Number of places.
    descriptor
        File descriptor to pass to the processes that share the board.
    """

    def __init__(self, places: int, descriptor: int | None = None) -> None:
        nbytes = _PAGE * (1 + places)
        self.places = places
        self.descriptor = _anonymous_file(nbytes) if descriptor is None else descriptor
        self._memory = mmap.mmap(self.descriptor, nbytes)
        if descriptor is None:
            self.patience = PATIENCE_S

    @property
    def stops(self) -> bool:
        """Whether the workers must end."""
        return bool(self._memory[0])

    @property
    def patience(self) -> float:
        """Seconds that reading one sample may take."""
        return float(_HEADER.unpack_from(self._memory)[1])

    @patience.setter
    def patience(self, seconds: float) -> None:
        _HEADER.pack_into(self._memory, 0, 0, seconds)

    def stop(self) -> None:
        """Tell the workers to end."""
        self._memory[0] = 1

    def place(self, number: int) -> BoardPlace:
        """Return the place of a process."""
        return BoardPlace(self._memory, _PAGE * (1 + number))

    def close(self) -> None:
        """Close the file descriptor of the board."""
        os.close(self.descriptor)


class BoardPlace:
    """Part of a board to which one process writes what it is reading."""

    def __init__(self, memory: mmap.mmap, offset: int) -> None:
        self._memory, self._offset = memory, offset
        self._now = NOTHING

    @property
    def serial(self) -> int:
        """Number of readings begun and files opened so far."""
        return int(_SERIAL.unpack_from(self._memory, self._offset + _SERIAL_AT)[0])

    @property
    def ticks(self) -> int:
        """Number of samples that are done."""
        return int(_TICKS.unpack_from(self._memory, self._offset + _TICKS_AT)[0])

    @ticks.setter
    def ticks(self, count: int) -> None:
        _TICKS.pack_into(self._memory, self._offset + _TICKS_AT, count)

    @property
    def reading(self) -> Reading:
        """What the process is reading, according to the board."""
        item, *lengths = _AT.unpack_from(self._memory, self._offset + _AT_AT)
        names, at = [], self._offset + _NAMES_AT
        for length in lengths:
            encoded = self._memory[at : at + min(length, _NAME_NBYTES)]
            names.append(encoded.decode(errors="replace"))
            at += _NAME_NBYTES
        return Reading(names[0], names[1], item)

    @property
    def item(self) -> int:
        """Index of the sample that this process is reading; -1 if it is none."""
        return self._now.item

    def begin(self, reading: Reading) -> Reading:
        """Write what is read from now on, and return what was read before."""
        before, self._now = self._now, reading
        memory, at = self._memory, self._offset + _NAMES_AT
        lengths = []
        for name in (reading.name, reading.file):
            encoded = name.encode(errors="backslashreplace")[:_NAME_NBYTES]
            memory[at : at + len(encoded)] = encoded
            lengths.append(len(encoded))
            at += _NAME_NBYTES
        _AT.pack_into(memory, self._offset + _AT_AT, reading.item, *lengths)
        self.go_on()
        return before

    def go_on(self) -> None:
        """Show that reading progresses."""
        _SERIAL.pack_into(self._memory, self._offset + _SERIAL_AT, self.serial + 1)

    def heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Note that a file is opened or a folder listed; a Python audit hook."""
        if event == "open":
            path = arguments[0]
            if self._now.name and isinstance(path, str) and not path.endswith(_CODE):
                self.begin(self._now._replace(file=path))
        elif event in ("os.scandir", "os.listdir"):
            self.go_on()


_CODE = (".py", ".pyc", ".so")

# The place of this process, if it is watched.
_mine: BoardPlace | None = None


def take(place: BoardPlace) -> None:
    """Make this process write what it reads to a place. It can be called once per process."""
    global _mine
    place.begin(NOTHING)
    _mine = place
    sys.addaudithook(place.heard)


@contextmanager
def marked(name: str, item: int | None = None) -> Iterator[None]:
    """Show on the board what this process reads inside the context; takes some microseconds.

    Parameters
    ----------
    name
        Name of what is read. In a nested call, it is a part of what the outer call reads.
    item
        Index of the sample in the source; by default, that of the outer call.
    """
    place = _mine
    if place is None:
        yield
        return
    before = place.begin(Reading(name, "", place.item if item is None else item))
    try:
        yield
    finally:
        place.begin(before)


def _anonymous_file(nbytes: int) -> int:
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("zarrfeed-board")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.truncate(descriptor, nbytes)
    return descriptor
