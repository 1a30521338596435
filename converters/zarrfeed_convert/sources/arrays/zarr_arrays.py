"""What samples do Zarr arrays hold?"""

from __future__ import annotations

import glob
from dataclasses import replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed_convert.sources.arrays.array_attributes import encoding_of
from zarrfeed_convert.sources.arrays.array_files import FoundArray, Stack, UnwrittenParts, texts_of
from zarrfeed_convert.sources.arrays.array_source import ArraySource
from zarrfeed_convert.sources.arrays.zarr_reading import (
    BLOCKS_NBYTES,
    ZarrReading,
    array_at,
    has_chunks,
    is_url,
    name_stores,
)
from zarrfeed_convert.sources.file_discovery import fixed_part, matches_of
from zarrfeed_convert.sources.read_errors import source_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.sources.arrays.array_files import ArrayFiles

_STORES = (".zarr", ".zip")


@source_errors
class ZarrArrays(ArraySource):
    """Zarr arrays, versions 2 and 3, a sample per entry along axis 0.

    Images are (N, H, W) or (N, H, W, C), and volumes (N, D, H, W) or (N, D, H, W, C), with masks
    that have no C; without masks, images are packed alone. Where masks are (H, W), images are one
    sample per array. Arrays (D, H, W) give a sample per slice, unless `axes` says that each is one
    volume. Masks hold integers, truth values, or floats that are whole numbers.
    Images keep their dtype; integers of 64 bits become 32, if these hold them.

    Parameters
    ----------
    images, masks
        The path of an array, like ``cells.zarr/images``, also in a zip file
        (``cells.zarr.zip/images``), or a URL that fsspec opens. A glob (``cells/*.zarr/images``)
        means several arrays: samples follow each other in the order of the paths, and masks pair
        by name. The path of a group means its only array.
    axes
        A letter for each axis of the images, like ``NDHWC``: N samples (first), D planes, H rows, W
        columns, C channels; empty to find them by the shapes of images and masks. ``DHW`` is one
        volume per file.
    keys
        An array of texts in the group of the images, which names the samples.
    channels_first
        Whether channels come before space, as in (N, C, H, W).
    one_hot
        Whether masks have a last axis of K classes, with a 1 in the place of the class.
    color
        ``auto`` keeps the channels that the array has; ``grey``, ``rgb``, ``rgba`` convert.
    mask_map
        What mask values mean: a :class:`MaskMap`, or text as in :func:`parse_mask_map`.
    fields
        Further arrays of every sample: ``{"depth": "target:PLACE"}``, where a place is as for
        `images`, and a role is image, mask or target.
    limits
        What files may claim, and name besides themselves; see :class:`zarrfeed_convert.Limits`.

    Raises
    ------
    SourceError
        There is no such array (the message lists those that there are), or the arrays have no
        samples in common.

    Notes
    -----
    Samples that share a chunk are decoded together for each of them, but for 384 MB of them, which
    are kept in memory. Such arrays pack faster with ``--order source``. Where a split stores tiles,
    images and volumes of several chunks of up to 128 MiB are read window by window, and may be of
    any size. A chunk that is not there is, as Zarr has it, full of the fill value; images of which
    no chunk is there are refused, and so are masks if all of them are like that.

    Examples
    --------
    >>> ZarrArrays("cells.zarr/images", "cells.zarr/masks")  # doctest: +SKIP
    """

    takes_urls = True

    kind = "zarr"

    def _reader(self) -> ArrayFiles:
        return _ZarrFiles(self._limits)


class _ZarrFiles:
    """Reads Zarr; a file is the path of an array."""

    bound = BLOCKS_NBYTES

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._reading = ZarrReading()

    def find(self, address: str, what: str) -> list[FoundArray]:
        where = address.rstrip("/")
        if is_url(where) or not glob.has_magic(where) or Path(where).exists():
            paths, base = [where], str(PurePath(where).parent)
        else:
            base = fixed_part(where)
            paths = sorted(path for path in matches_of(where) if Path(path).is_dir())
            if not paths:
                raise SourceError(f"{what}: nothing is at {where}; check the path")
        return [
            FoundArray(path, "", stem)
            for path, stem in zip(paths, _stems(paths, base), strict=True)
        ]

    def measure(self, found: FoundArray) -> Stack:
        path = array_at(found.file)
        array = self._reading.open(path)
        shape = tuple(map(int, array.shape))
        self._limits.require_count(shape[0] if shape else 1, found.name)
        self._limits.require(array.chunks, array.dtype, found.name, "a chunk")
        together = min(array.chunks[0], shape[0]) if shape else 1
        kept = min(array.nbytes, BLOCKS_NBYTES // 2) if together > 1 else 0
        unwritten, all_of_it = None, frozenset({0})
        if shape and not has_chunks(array):  # Zarr leaves out chunks of nothing but fill values
            unwritten = UnwrittenParts(shape[0], 1, all_of_it, all_of_it, fill_is_mask=True)
        dtype = np.dtype(array.dtype)
        attributes: dict[str, Any] = dict(array.attrs.asdict())
        named: Any = attributes.get("_ARRAY_DIMENSIONS")
        named = named or getattr(array.metadata, "dimension_names", None)
        axes = list(map(str, named)) if isinstance(named, list | tuple) else []
        encoding = encoding_of(attributes, axes, dtype, name=found.name)
        whole = replace(found, file=path)
        chunks = tuple(map(int, array.chunks))
        return Stack(
            whole,
            shape,
            dtype,
            together,
            kept,
            unwritten=unwritten,
            encoding=encoding,
            chunks=chunks,
        )

    def read(self, stack: Stack, row: int | None, name: str) -> NDArray[Any]:
        self._require_unchanged(stack, name)
        return self._reading.read(stack.found.file, {} if row is None else {0: row})

    def read_part(self, stack: Stack, part: Sequence[slice], name: str) -> NDArray[Any]:
        self._require_unchanged(stack, name)
        return self._reading.read_part(stack.found.file, part)

    def _require_unchanged(self, stack: Stack, name: str) -> None:
        array = self._reading.open(stack.found.file)
        if array.shape != stack.shape or array.dtype != stack.dtype:
            raise SourceError(f"{name}: the array has changed since it was measured; begin anew")

    def texts(self, file: str, array: str) -> list[str]:
        path = array_at(f"{file.rpartition('/')[0] or '.'}/{array.strip('/')}")
        return texts_of(self._reading.read(path, {}))


def _stems(paths: list[str], base: str) -> list[str]:
    """Name arrays by their stores, if these names are unique."""
    stores = [_store(PurePath(path)) for path in paths]
    if len(set(stores)) < len(stores):
        return name_stores(paths, base)
    inside = PurePath(base) == stores[0] or stores[0] in PurePath(base).parents
    return name_stores(
        [store.as_posix() for store in stores], str(stores[0].parent) if inside else base
    )


def _store(path: PurePath) -> PurePath:
    """Return the beginning of a path that names the store."""
    stores = [part for part in (path, *path.parents) if part.suffix in _STORES]
    return stores[-1] if stores else path
