"""What is a process reading? A board shows it to others, even if the process crashes or hangs.

Libraries that decode files of unknown origin crash or hang over some of them. So separate processes
do the work. Each writes what it begins to read on a board, anonymous memory that they share with
the process that watches them::

    page 0      stop: whether the workers are to end; patience: seconds
    page 1 …    a place for every process: serial, ticks, item, what it reads, the file opened last

A place has one writer. While its process runs, a reader may see half a name; once the process is
dead or hangs, which is when it matters, the entry is whole.
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

# Seconds that reading one thing may take, besides what its size allows.
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
        As a person would look for it; empty while nothing is read.
    file
        The file opened last meanwhile; may be empty.
    item
        Which of the source's samples; -1 if it is none.
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
        Processes; whoever opens a board needs only the places up to its own.
    descriptor
        Of a board that another process has made.

    Attributes
    ----------
    places
        How many there are.
    descriptor
        Passed to the processes that share the board.
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
        """Whether the workers are to end."""
        return bool(self._memory[0])

    @property
    def patience(self) -> float:
        """Seconds that reading one thing may take."""
        return float(_HEADER.unpack_from(self._memory)[1])

    @patience.setter
    def patience(self, seconds: float) -> None:
        _HEADER.pack_into(self._memory, 0, 0, seconds)

    def stop(self) -> None:
        """Tell the workers to end."""
        self._memory[0] = 1

    def place(self, number: int) -> Place:
        """Return the place of a process."""
        return Place(self._memory, _PAGE * (1 + number))

    def close(self) -> None:
        """Close the board."""
        os.close(self.descriptor)


class Place:
    """Where one process writes what it reads."""

    def __init__(self, memory: mmap.mmap, offset: int) -> None:
        self._memory, self._offset = memory, offset
        self._now = NOTHING

    @property
    def serial(self) -> int:
        """Counts what was begun or opened."""
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
        """What the process reads, by the board."""
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
        """Write what is read from now on; return what was read before."""
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
        """Show that reading makes progress."""
        _SERIAL.pack_into(self._memory, self._offset + _SERIAL_AT, self.serial + 1)

    def heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Note that a file is opened or a folder listed: an audit hook of Python's."""
        if event == "open":
            path = arguments[0]
            if self._now.name and isinstance(path, str) and not path.endswith(_CODE):
                self.begin(self._now._replace(file=path))
        elif event in ("os.scandir", "os.listdir"):
            self.go_on()


_CODE = (".py", ".pyc", ".so")

# The place of this process, if it is watched; it never changes.
_mine: Place | None = None


def take(place: Place) -> None:
    """Write what this process reads there from now on."""
    global _mine
    place.begin(NOTHING)
    _mine = place
    sys.addaudithook(place.heard)


@contextmanager
def marked(name: str, item: int | None = None) -> Iterator[None]:
    """Show on the board what this process reads meanwhile; costs some microseconds.

    Parameters
    ----------
    name
        What is read; when nested, a part of what the outer call reads.
    item
        Which of the source's samples; by default, that of the outer call.
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
