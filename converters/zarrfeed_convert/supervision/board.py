"""What does a process read at the moment? It stands where others see it, whatever happens.

Files of unknown origin are decoded by libraries that crash or hang over some of them. So the work
is done in processes of its own, and whoever begins to read something writes it on a board, an
anonymous piece of memory that the processes share with the one that watches them::

    page 0      stop: whether those that work are to end; patience: seconds
    page 1 …    a place for every process: serial, ticks, item, what it reads, the file opened last

A place has one writer. A reader may find half a name, of a process that goes on; of one that is
dead or hangs, which alone matters, what stands there is whole.
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

# Seconds that something may take to be read, besides what its size allows.
PATIENCE_S = 120.0

_PAGE = 4096
_HEADER = Struct("<Bd")
_SERIAL, _TICKS, _AT = Struct("<Q"), Struct("<Q"), Struct("<qHH")
_SERIAL_AT, _TICKS_AT, _AT_AT, _NAMES_AT = 0, 8, 16, 32
_NAME_NBYTES = 1984
NO_ITEM = -1


class Reading(NamedTuple):
    """What a process reads.

    Attributes
    ----------
    name
        As a person would look for it; empty where it reads nothing.
    file
        That was opened last meanwhile; may be empty.
    item
        Which of the source's samples; -1 where it is none.
    """

    name: str
    file: str
    item: int

    def __str__(self) -> str:
        return f"{self.name} (in {self.file})" if self.file not in self.name else self.name


NOTHING = Reading("", "", NO_ITEM)


class Board:
    """What some processes read.

    Parameters
    ----------
    places
        How many there are; of a board that is there already, this one's is enough.
    descriptor
        Of the board, where another process has made it.

    Attributes
    ----------
    places
        How many there are.
    descriptor
        To be passed to processes that share it.
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
        """Whether those that work are to end."""
        return bool(self._memory[0])

    @property
    def patience(self) -> float:
        """Seconds that something may take to be read."""
        return float(_HEADER.unpack_from(self._memory)[1])

    @patience.setter
    def patience(self, seconds: float) -> None:
        _HEADER.pack_into(self._memory, 0, 0, seconds)

    def stop(self) -> None:
        """Tell those that work that they are to end."""
        self._memory[0] = 1

    def place(self, number: int) -> Place:
        """Give a process its place, or look at it."""
        return Place(self._memory, _PAGE * (1 + number))

    def close(self) -> None:
        """Let go of it."""
        os.close(self.descriptor)


class Place:
    """Where one process writes what it reads."""

    def __init__(self, memory: mmap.mmap, offset: int) -> None:
        self._memory, self._offset = memory, offset
        self._now = NOTHING

    @property
    def serial(self) -> int:
        """Another number after everything that was begun or opened."""
        return int(_SERIAL.unpack_from(self._memory, self._offset + _SERIAL_AT)[0])

    @property
    def ticks(self) -> int:
        """How many samples are done."""
        return int(_TICKS.unpack_from(self._memory, self._offset + _TICKS_AT)[0])

    @ticks.setter
    def ticks(self, count: int) -> None:
        _TICKS.pack_into(self._memory, self._offset + _TICKS_AT, count)

    @property
    def reading(self) -> Reading:
        """What the process reads, as it stands on the board."""
        item, *lengths = _AT.unpack_from(self._memory, self._offset + _AT_AT)
        names, at = [], self._offset + _NAMES_AT
        for length in lengths:
            encoded = self._memory[at : at + min(length, _NAME_NBYTES)]
            names.append(encoded.decode(errors="replace"))
            at += _NAME_NBYTES
        return Reading(names[0], names[1], item)

    @property
    def item(self) -> int:
        """Which sample this process reads."""
        return self._now.item

    def begin(self, reading: Reading) -> Reading:
        """Write down what is read from now on; gives what was before."""
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
        """Show that reading goes on."""
        _SERIAL.pack_into(self._memory, self._offset + _SERIAL_AT, self.serial + 1)

    def heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Note that a file is opened, or a folder is looked into: an audit hook of Python's."""
        if event == "open":
            path = arguments[0]
            if self._now.name and isinstance(path, str) and not path.endswith(_CODE):
                self.begin(self._now._replace(file=path))
        elif event in ("os.scandir", "os.listdir"):
            self.go_on()


_CODE = (".py", ".pyc", ".so")

# Of this process, if it is watched. It has one place for all its life.
_mine: Place | None = None


def take(place: Place) -> None:
    """Let this process write what it reads there, from now on."""
    global _mine
    place.begin(NOTHING)
    _mine = place
    sys.addaudithook(place.heard)


@contextmanager
def marked(name: str, item: int | None = None) -> Iterator[None]:
    """Let whoever watches this process see what it reads meanwhile; costs some microseconds.

    Parameters
    ----------
    name
        What is read. Within something else that is read, a part of it.
    item
        Which of the source's samples, if it is one; a part is of the same as the whole.
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
