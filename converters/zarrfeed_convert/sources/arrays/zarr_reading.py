"""How are samples of a Zarr array read without decoding a shared chunk for each of them?

By zarr-python: versions 2 and 3, folders, zip files, and whatever URLs fsspec opens.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager, suppress
from functools import partial
from itertools import product
from math import prod
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import zarr
from zarr.core.sync import sync
from zarr.errors import ZarrUserWarning
from zarr.storage import LocalStore, ZipStore

from zarrfeed.errors import SourceError
from zarrfeed.store.names import store_stems
from zarrfeed_convert.decoding.limits import require_regular
from zarrfeed_convert.sources.arrays.array_files import BLOCK_NBYTES, choose_array
from zarrfeed_convert.sources.arrays.chunk_claims import require_declared_chunks, touched
from zarrfeed_convert.sources.cache import Cache

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

AnyArray: TypeAlias = "zarr.Array[Any]"
Node: TypeAlias = "AnyArray | zarr.Group"

_METADATA = frozenset({"zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata"})
_OPEN_ARRAYS = 64
_LISTED_DEPTH = 3  # levels of groups whose arrays a message lists
# Shared chunks stay decoded: at most so many bytes of all.
BLOCKS_NBYTES = 3 * BLOCK_NBYTES
_MOST_COVER = 2  # times a part, of the chunks that hold it, that are decoded anew for each part


def is_url(path: str) -> bool:
    """Tell whether a path is a URL, which fsspec opens."""
    return "://" in path


def name_stores(paths: Sequence[str], base: str) -> list[str]:
    """Give paths unique names: relative to a folder, without the endings of stores.

    Examples
    --------
    >>> name_stores(["d/a.ome.zarr", "d/b.zarr.zip", "d/0"], "d")
    ['a', 'b', '0']
    """
    below = [
        path.relative_to(base).as_posix() if path.is_relative_to(base) else path.as_posix()
        for path in map(PurePath, paths)
    ]
    return store_stems(below)


def open_node(path: str) -> Node | None:
    """Open an array or a group, to read it.

    Parameters
    ----------
    path
        A path, also into a zip file (``a.zarr.zip/images``), or a URL.

    Returns
    -------
    zarr.Array, zarr.Group or None
        None where there is neither.
    """
    store: Any = path
    below = ""
    if not is_url(path):
        store = _Folder(path, read_only=True)
        for part in (Path(path), *Path(path).parents):
            if part.suffix == ".zip" and part.is_file():
                inside = Path(path).relative_to(part).as_posix()
                store, below = ZipStore(part, mode="r"), inside.removeprefix(".")
    try:
        with quiet():
            return zarr.open(store, mode="r", path=below)
    except FileNotFoundError:
        return None


class _Folder(LocalStore):
    """A folder whose pipes and devices are not read, because that might never end."""

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        with suppress(OSError):  # a missing file has a meaning for zarr-python
            require_regular(self.root / key)
        return await super().get(key, prototype, byte_range)


@contextmanager
def quiet() -> Iterator[None]:
    """Ignore zarr-python's warnings about foreign files and types that are not final."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ZarrUserWarning)
        yield


def array_at(path: str) -> str:
    """Return the path of an array, or of the only array of a group.

    Raises
    ------
    SourceError
        There is no such array; the message lists those that there are.
    """
    node = open_node(path)
    if isinstance(node, zarr.Array):
        return path
    group, below = path, ""
    while node is None:
        group, _, part = group.rpartition("/")
        below = f"{part}/{below}".strip("/")
        if not group or group.endswith(":/"):
            raise SourceError(f"{path}: needed a Zarr array, found none there; check the path")
        node = open_node(group)
    if isinstance(node, zarr.Array):
        raise SourceError(
            f"{path}: no such array; {group} is one, {node.shape} {node.dtype}; give that"
        )
    with quiet():
        arrays = {
            name: f"{array.shape} {array.dtype}"
            for name, array in sorted(node.members(max_depth=_LISTED_DEPTH))
            if isinstance(array, zarr.Array)
        }
    return f"{group}/{choose_array(group, below, arrays, joint='/')}"


def has_chunks(array: AnyArray) -> bool:
    """Tell whether any chunk of an array exists; behind a URL, assume so."""
    store, path = array.store_path.store, array.store_path.path
    if not isinstance(store, LocalStore | ZipStore):
        return True

    async def found() -> bool:
        async for key in store.list_prefix(f"{path}/" if path else ""):
            if not key.endswith("/") and PurePath(key).name not in _METADATA:
                return True
        return False

    return sync(found())


class ZarrReading:
    """Reads parts of Zarr arrays. Thread-safe; pickled without open arrays."""

    def __init__(self) -> None:
        self._open: Cache[AnyArray] = Cache(_OPEN_ARRAYS)
        self._blocks: Cache[NDArray[Any]] = Cache(BLOCKS_NBYTES, _nbytes)

    def open(self, path: str) -> AnyArray:
        """Open an array, unless it is open already."""
        return self._open.get(path, lambda: _array(path))

    def read(self, path: str, picks: Mapping[int, int]) -> NDArray[Any]:
        """Read an array at one index of some axes, into new memory.

        Parameters
        ----------
        path
            Of the array.
        picks
            Axis → place.

        Returns
        -------
        numpy.ndarray
            The other axes, in their order.
        """
        array = self.open(path)
        axes = range(array.ndim)
        sample = prod(size for axis, size in enumerate(array.shape) if axis not in picks)
        together = prod(array.chunks[axis] for axis in picks)
        if together == 1 or sample * together * array.dtype.itemsize > BLOCK_NBYTES:
            part = [slice(picks.get(n, 0), picks.get(n, array.shape[n] - 1) + 1) for n in axes]
            require_declared_chunks(array, path, part)
            return np.asarray(array[tuple(picks.get(axis, slice(None)) for axis in axes)])
        starts = {axis: place - place % array.chunks[axis] for axis, place in picks.items()}
        cover = [
            slice(starts[axis], min(starts[axis] + array.chunks[axis], array.shape[axis]))
            if axis in picks
            else slice(0, array.shape[axis])
            for axis in axes
        ]
        block = self._blocks.get((path, tuple(starts.items())), lambda: _read(array, path, cover))
        within = (picks[axis] - starts[axis] if axis in picks else slice(None) for axis in axes)
        return block[tuple(within)].copy()

    def read_part(self, path: str, part: Sequence[slice]) -> NDArray[Any]:
        """Read a part of an array, into new memory; only the chunks that hold some of it.

        Where the part is less than half of these chunks, they stay decoded for the next part.

        Parameters
        ----------
        path
            Of the array.
        part
            A slice of each axis, with start and stop.
        """
        array = self.open(path)
        places = touched(part, array.chunks)
        shape = [each.stop - each.start for each in part]
        cover = [
            min(each.stop * chunk, size) - each.start * chunk
            for each, chunk, size in zip(places, array.chunks, array.shape, strict=True)
        ]
        nbytes = prod(array.chunks) * array.dtype.itemsize
        if prod(cover) <= _MOST_COVER * prod(shape) or nbytes > BLOCK_NBYTES:
            return _read(array, path, part)
        values = np.empty(shape, array.dtype)
        for place in product(*places):
            start = [at * chunk for at, chunk in zip(place, array.chunks, strict=True)]
            block = [
                slice(begin, min(begin + chunk, size))
                for begin, chunk, size in zip(start, array.chunks, array.shape, strict=True)
            ]
            chunk = self._blocks.get((path, place), partial(_read, array, path, block))
            both = [
                slice(max(one.start, other.start), min(one.stop, other.stop))
                for one, other in zip(part, block, strict=True)
            ]
            to, of = (
                tuple(
                    slice(each.start - origin.start, each.stop - origin.start)
                    for each, origin in zip(both, origins, strict=True)
                )
                for origins in (part, block)
            )
            values[to] = chunk[of]
        return values


def _read(array: AnyArray, path: str, part: Sequence[slice]) -> NDArray[Any]:
    require_declared_chunks(array, path, part)
    return np.asarray(array[tuple(part)])


def _array(path: str) -> AnyArray:
    node = open_node(path)
    if not isinstance(node, zarr.Array):
        raise ValueError(f"there is no longer an array at {path}")
    return node


def _nbytes(block: NDArray[Any]) -> int:
    return block.nbytes
