"""How can a process survive when a mapped file becomes shorter during a copy?

The kernel answers a read beyond the file's new end with SIGBUS, which ends the process. While files
are mapped, a handler catches this signal: it maps a page of zeros where the file has ended and
records the address in the :class:`Region`. The copy goes on, and its caller finds the record and
raises. A signal from any other address goes to the previous handler.

A handler in Python is safe here because it only interrupts a copy or a decoder that reads a region,
in a thread that holds no lock of the C library. It costs nothing per batch. System calls that
report a missing page are slower (measured with 32 random samples of 192, 64 and 3 kB on huge
pages): ``process_vm_readv`` takes 1.2, 1.3 and 2.0 times as long as ``np.take``, ``pwritev`` into
shared memory 1.4 times, and ``preadv`` needs a call for every sample.
"""

from __future__ import annotations

import atexit
import ctypes
import mmap
import os
import platform
import signal
import sys
import weakref
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# On other systems only the file's size is checked, before and after a copy.
GUARDED = sys.platform == "linux" and platform.machine() in ("x86_64", "aarch64")

MAP_FIXED = 0x10  # on Linux and macOS; Python's mmap does not name it
_FAILED = ctypes.c_void_p(-1).value
_SIGINFO = 4  # SA_SIGINFO: the handler gets a siginfo_t, which has the address
_CODE, _ADDRESS = 8, 16  # offsets of si_code and si_addr in Linux's siginfo_t on 64 bits


class _Action(ctypes.Structure):
    """``struct sigaction``, as the C libraries of Linux have it on 64 bits."""

    _fields_ = (
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_byte * 128),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    )


class Region:
    """A range of addresses at which files are mapped, guarded until :meth:`close`.

    Parameters
    ----------
    start, nbytes
        First address, and length in bytes.

    Attributes
    ----------
    missing_pages
        Addresses at which a page was missing. Zeros take its place for the rest of this mapping, so
        that copies are invalid and the file must be mapped again.
    """

    def __init__(self, start: int, nbytes: int) -> None:
        self.start = start
        self.end = start + nbytes
        self.missing_pages: list[int] = []
        if GUARDED:
            _regions[id(self)] = self
            _install_handler()

    def close(self) -> None:
        """Stop guarding. Call this before anything else can be mapped at these addresses."""
        _regions.pop(id(self), None)


_references: dict[int, weakref.ref[object]] = {}
_regions: dict[int, Region] = {}


def guarded(mapped: mmap.mmap, start: int) -> Region:
    """Guard a mapping until it is garbage-collected."""
    region = Region(start, len(mapped))
    call_when_collected(mapped, region.close)
    return region


def unmap_when_collected(owner: object, region: Region, start: int, nbytes: int) -> None:
    """Stop guarding a region and unmap addresses around it once their owner is collected."""
    munmap = partial(_libc.munmap, start, nbytes)  # at exit, `_libc` may be gone before the owner

    def unmap() -> None:
        region.close()
        munmap()

    call_when_collected(owner, unmap)


def call_when_collected(one: object, call: Callable[[], object]) -> None:
    """Call a function when an object is collected, in whichever thread that happens.

    Unlike ``weakref.finalize``, this does nothing when the interpreter exits. At that time other
    threads may still copy from mapped memory, which therefore must stay, and may still map files,
    which would change the registry of ``weakref.finalize`` while the interpreter goes through it.
    """
    references, key, exits = _references, id(one), sys.is_finalizing

    def collected(_: object) -> None:
        if exits():  # the names of this module may be gone
            return
        references.pop(key, None)
        call()

    references[key] = weakref.ref(one, collected)


def map_memory(
    address: int | None, nbytes: int, protection: int, flags: int, descriptor: int
) -> int:
    """Call the system's ``mmap``, because Python's takes no address.

    Raises
    ------
    OSError
        The system refuses.
    """
    found = _libc.mmap(address, nbytes, protection, flags, descriptor, 0)
    if found == _FAILED:
        number = ctypes.get_errno()
        raise OSError(number, f"mmap: {os.strerror(number)}")
    return int(found)


def _install_handler() -> None:
    """Install our handler of SIGBUS and remember the previous one."""
    current = _Action()
    _libc.sigaction(signal.SIGBUS, None, ctypes.byref(current))
    if current.handler != _ours.handler:
        ctypes.memmove(ctypes.byref(_previous), ctypes.byref(current), ctypes.sizeof(_Action))
        _libc.sigaction(signal.SIGBUS, ctypes.byref(_ours), None)


def _restore_handler() -> None:
    """Restore the previous handler, because a callback must not outlive the interpreter."""
    current = _Action()
    _libc.sigaction(signal.SIGBUS, None, ctypes.byref(current))
    if current.handler == _ours.handler:
        _libc.sigaction(signal.SIGBUS, ctypes.byref(_previous), None)


def _handle(number: int, info: int, _: object) -> None:
    code = ctypes.c_int.from_address(info + _CODE).value
    address = ctypes.c_size_t.from_address(info + _ADDRESS).value
    try:
        if code > 0:  # from the kernel
            for region in list(_regions.values()):
                if region.start <= address < region.end:
                    region.missing_pages.append(address)
                    page = address - address % mmap.PAGESIZE
                    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_FIXED
                    map_memory(page, mmap.PAGESIZE, mmap.PROT_READ, flags, -1)
                    return
    except OSError:  # there is no memory for a page of zeros: the process ends
        pass
    _libc.sigaction(signal.SIGBUS, ctypes.byref(_previous), None)
    if code <= 0:  # a process sent it, so that it does not occur again by itself
        os.kill(os.getpid(), number)


_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [
    ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long,
]  # fmt: skip
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_handler = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(_handle)
_previous = _Action()
_ours = _Action(handler=ctypes.cast(_handler, ctypes.c_void_p).value, flags=_SIGINFO)
if GUARDED:
    atexit.register(_restore_handler)
