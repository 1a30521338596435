"""Aligned memory for batches, shared with worker processes, and leases on it.

One anonymous mapping holds all slots. For worker processes it is a memfd on Linux and an unlinked
temporary file elsewhere. It has no name, so that nothing is left behind however the processes end;
workers inherit its descriptor. Touching a page for the first time costs ten times as much as later,
so pages are reused until the sequence is closed.

A finished batch is handed out as arrays that keep a :class:`Lease` alive. When the last array, view
or tensor on it is deleted, the slot becomes free; until then no worker writes to it. The slot freed
last is used first, because it is still in the processor's cache.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.store.truncation import MAP_FIXED, map_memory

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed.arrays import Arrays
    from zarrfeed.feed.slot import Slot, SlotLayout

_CAN_FREE_PARTS = hasattr(mmap, "MADV_REMOVE")  # Linux


class Arena:
    """A number of equal slots in one shared mapping.

    Parameters
    ----------
    layout
        Layout of every slot.
    slots
        Number of slots.
    shared
        Whether other processes write to the slots.
    descriptor
        Descriptor of another process's arena to share; None allocates new memory.
    """

    def __init__(
        self, layout: SlotLayout, slots: int, *, shared: bool = True, descriptor: int | None = None
    ) -> None:
        self.layout = layout
        self.slots = slots
        nbytes = max(1, slots) * layout.nbytes
        self.descriptor = -1 if descriptor is None else descriptor
        if self.descriptor < 0 and shared:
            self.descriptor = _anonymous_file(nbytes)
        self._map: mmap.mmap | None = (
            mmap.mmap(self.descriptor, nbytes)
            if self.descriptor >= 0
            else mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        )
        self._memory = np.frombuffer(self._map, np.uint8)
        self._copies: dict[int, NDArray[np.uint8]] = {}  # leased slots, during a fork
        self.shared = self.descriptor >= 0
        self._free: deque[_Return | int] = deque(range(slots))
        self._slots: dict[int, Slot] = {}
        self._full: dict[int, list[dict[str, Any]]] = {}  # array interfaces of full batches
        self._returns: dict[int, _Return] = {}  # kept alive for their callbacks

    def __repr__(self) -> str:
        name, leased = type(self).__name__, self.leased
        if self._map is None:
            return f"<{name}: closed, {leased} leased>"
        return (
            f"<{name} of {self.slots} × {self.layout.nbytes:,} bytes: {self.free} free, "
            f"{self.slots - self.free - leased} taken, {leased} leased>"
        )

    @property
    def free(self) -> int:
        """Number of slots that are neither taken nor leased."""
        return len(self._free)

    @property
    def leased(self) -> int:
        """Number of slots that consumers hold."""
        return len(self._leased())

    def take(self) -> int:
        """Take the slot that was freed last.

        Raises
        ------
        IndexError
            All slots are in use; see :attr:`free`.
        """
        free = self._free.pop()
        return free if isinstance(free, int) else free.slot

    def give_back(self, slot: int) -> None:
        """Free a taken slot."""
        self._free.append(slot)

    def slot(self, number: int) -> Slot:
        """Return a view of a slot, cached because making one can take longer than a batch."""
        slot = self._slots.get(number)
        if slot is None:
            nbytes = self.layout.nbytes
            memory = self._memory[number * nbytes : (number + 1) * nbytes]
            slot = self._slots[number] = self.layout.slot(memory)
        return slot

    def lease(self, slot: int, rows: int) -> Arrays:
        """Hand out a filled slot.

        Parameters
        ----------
        slot
            A taken slot. It becomes free when the last of the arrays is deleted.
        rows
            Number of samples in the slot.

        Returns
        -------
        tuple of (rows, *spec.shape) arrays
            C-contiguous, 64-byte aligned, writable.
        """
        lease = Lease(self._memory)
        self._returns[slot] = _Return(lease, self._free, slot)
        return tuple(
            np.asarray(_Leased(interface, lease)) for interface in self._interfaces(slot, rows)
        )

    def _interfaces(self, slot: int, rows: int) -> list[dict[str, Any]]:
        if rows < self.layout.rows:
            return [array.__array_interface__ for array in self.slot(slot).first_rows(rows)]
        if slot not in self._full:
            self._full[slot] = [array.__array_interface__ for array in self.slot(slot).arrays]
        return self._full[slot]

    def close(self) -> None:
        """Release the memory. That of leased slots is released when their arrays are deleted."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
        if self._map is None:
            return
        held = self._leased()
        if held and _CAN_FREE_PARTS:
            advice = mmap.MADV_REMOVE if self.shared else mmap.MADV_DONTNEED
            for slot in set(range(self.slots)) - held:
                self._map.madvise(advice, slot * self.layout.nbytes, self.layout.nbytes)
        self._map = None
        self._memory = np.empty(0, np.uint8)
        self._slots.clear()

    def before_fork(self) -> None:
        """Copy leased slots that are shared, because the parent's workers will overwrite them."""
        if self.shared and self._map is not None:
            self._copies = {slot: self.slot(slot).memory.copy() for slot in self._leased()}

    def after_fork(self, *, child: bool) -> None:
        """In a child, move the leased slots to memory of its own and close the arena."""
        if child and self._map is not None:
            if self._copies:
                flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_FIXED
                access = mmap.PROT_READ | mmap.PROT_WRITE
                map_memory(self._memory.ctypes.data, self._memory.size, access, flags, -1)
            for slot, content in self._copies.items():
                self.slot(slot).memory[:] = content
            self.shared = False
            self.close()
        self._copies = {}

    def _leased(self) -> set[int]:
        return {slot for slot, lease in list(self._returns.items()) if lease() is not None}


class _Return(weakref.ref["Lease"]):
    """A weak reference that appends itself to the free slots when its lease is deleted.

    The callback is a single call into C, because a callback in Python would swallow Ctrl-C.
    """

    __slots__ = ("slot",)

    def __new__(cls, lease: Lease, free: deque[_Return | int], slot: int) -> _Return:  # noqa: ARG004
        return super().__new__(cls, lease, free.append)

    def __init__(self, lease: Lease, free: deque[_Return | int], slot: int) -> None:
        super().__init__(lease, free.append)  # type: ignore[call-arg]
        self.slot = slot


class Lease:
    """Kept alive by the arrays of a batch; keeps the arena's memory alive."""

    __slots__ = ("__weakref__", "_memory")

    def __init__(self, memory: NDArray[np.uint8]) -> None:
        self._memory = memory


class _Leased:
    """The base object of an array: NumPy collapses chains of views, but keeps other bases alive."""

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
