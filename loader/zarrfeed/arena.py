"""Aligned memory for the batches under way, shared with worker processes, and leases on it.

One anonymous mapping holds every slot: a memfd on Linux, an unlinked temporary file elsewhere.
It has no name, so nothing is left behind by any kind of death; a worker process gets its
descriptor. A page is first touched by the worker that first writes to it, which costs ten times a
later touch, and is then reused for as long as the sequence lives.

A finished batch leaves as arrays that keep a :class:`Lease` alive. When the last array, view or
tensor on it dies, the slot comes back by itself; until then nobody writes to it. The slot freed
last is handed out first, while it is still in the processor's cache.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from zarrfeed.slot import Arrays, Slot, SlotLayout


class Arena:
    """A number of equal slots in one shared mapping.

    Parameters
    ----------
    layout
        Of every slot.
    slots
        How many.
    descriptor
        Of another process's arena to share; None makes a new one.
    """

    def __init__(self, layout: SlotLayout, slots: int, *, descriptor: int | None = None) -> None:
        self.layout = layout
        self.slots = slots
        nbytes = max(1, slots) * layout.nbytes
        self.descriptor = _anonymous_file(nbytes) if descriptor is None else descriptor
        self._memory = np.frombuffer(mmap.mmap(self.descriptor, nbytes), np.uint8)
        self._free: deque[_Return | int] = deque(range(slots))
        self._slots: dict[int, Slot] = {}
        self._full: dict[int, list[dict[str, Any]]] = {}  # what full batches look like to NumPy
        self._returns: dict[int, _Return] = {}  # a weak reference must live to be called back

    @property
    def free(self) -> int:
        """How many slots are neither taken nor leased."""
        return len(self._free)

    def take(self) -> int:
        """Take the slot that was freed last.

        Raises
        ------
        IndexError
            All are in use; callers count what they take.
        """
        free = self._free.pop()
        return free if isinstance(free, int) else free.slot

    def give_back(self, slot: int) -> None:
        """Return a slot. Safe in a finaliser on any thread: one atomic append, no lock."""
        self._free.append(slot)

    def slot(self, number: int) -> Slot:
        """View a slot; made once for each, because it takes longer than a batch may."""
        slot = self._slots.get(number)
        if slot is None:
            nbytes = self.layout.nbytes
            memory = self._memory[number * nbytes : (number + 1) * nbytes]
            slot = self._slots[number] = self.layout.slot(memory)
        return slot

    def lease(self, slot: int, rows: int) -> Arrays:
        """Hand a filled slot out.

        Parameters
        ----------
        slot
            A taken slot; it comes back when the last of the arrays dies.
        rows
            How many samples it holds.

        Returns
        -------
        tuple of (rows, *spec.shape)
            C-contiguous, 64-byte aligned, writable.
        """
        lease = Lease(self)
        self._returns[slot] = _Return(lease, self._free, slot)
        return tuple(
            np.asarray(_Leased(interface, lease)) for interface in self._interfaces(slot, rows)
        )

    def _interfaces(self, slot: int, rows: int) -> list[dict[str, Any]]:
        if rows < self.layout.rows:
            return [array.__array_interface__ for array in self.slot(slot).cut(rows)]
        if slot not in self._full:
            self._full[slot] = [array.__array_interface__ for array in self.slot(slot).arrays]
        return self._full[slot]

    def close(self) -> None:
        """Close the descriptor. The memory itself lives on until the last array on it dies."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


class _Return(weakref.ref["Lease"]):
    """Lies among the free slots once its lease has died.

    That is one call into C. In a finaliser written in Python, Ctrl-C would be swallowed.
    """

    __slots__ = ("slot",)

    def __new__(cls, lease: Lease, free: deque[_Return | int], slot: int) -> _Return:  # noqa: ARG004
        return super().__new__(cls, lease, free.append)

    def __init__(self, lease: Lease, free: deque[_Return | int], slot: int) -> None:
        super().__init__(lease, free.append)  # type: ignore[call-arg]
        self.slot = slot


class Lease:
    """What the arrays of a batch keep alive, and with it the arena's memory."""

    __slots__ = ("__weakref__", "_arena")

    def __init__(self, arena: Arena) -> None:
        self._arena = arena


class _Leased:
    """The base of an array: NumPy collapses chains of views, but keeps a foreign base alive."""

    __slots__ = ("__array_interface__", "_lease")

    def __init__(self, interface: dict[str, Any], lease: Lease) -> None:
        self.__array_interface__ = interface
        self._lease = lease


def _anonymous_file(nbytes: int) -> int:
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("zarrfeed", os.MFD_CLOEXEC)
    else:
        descriptor, name = tempfile.mkstemp(prefix="zarrfeed-")
        os.unlink(name)  # noqa: PTH108 - a descriptor without a path is the point
    os.truncate(descriptor, nbytes)
    return descriptor
