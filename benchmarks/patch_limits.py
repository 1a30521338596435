"""How fast can patches be cut from memory? No loader can be faster.

The boxes are those of an epoch of a ``ZarrSequence``, which shares nothing else with the limits.
"""

from __future__ import annotations

import itertools
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import numcodecs.blosc
import numpy as np
import zarr

from decoding import FIELDS, encoded_chunks
from limits import aligned
from patch_sequences import sequence
from zarrfeed import open_split

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from patch_data import Data, Way

Box: TypeAlias = tuple[slice, ...]


def boxes(data: Data) -> list[tuple[int, Box]]:
    """Return the number of the case and the box of each patch of an epoch."""
    work, found = data.work, []
    with sequence(data, "raw", workers=0) as patches:
        for batch in range(len(patches)):
            for place in patches.batch_places(batch):
                box = tuple(slice(a, a + n) for a, n in zip(place.origin, work.patch, strict=True))
                found.append((work.keys.index(place.key), box))
    return found


def batches_of(data: Data) -> Iterator[list[tuple[int, Box]]]:
    """Yield the boxes of batches for ever."""
    of_epoch, size = boxes(data), data.work.batch_size
    while True:
        for start in range(0, len(of_epoch) - size + 1, size):
            yield of_epoch[start : start + size]


def empty_batch(data: Data) -> tuple[np.ndarray, np.ndarray]:
    """Return aligned memory for the images and masks of a batch."""
    work = data.work
    shape = work.batch_size, *work.patch
    dtype = np.dtype(work.dtype)
    image = aligned((*shape, work.channels * dtype.itemsize)).view(dtype)
    return image, aligned(shape)


def slices(data: Data, *, in_memory: bool) -> Iterator[int]:
    """Slice the boxes out of whole arrays into one aligned buffer."""
    cases, out = data.arrays(in_memory=in_memory), empty_batch(data)
    for batch in batches_of(data):
        for row, (case, box) in enumerate(batch):
            for field in range(2):
                out[field][row] = cases[case][field][box]
        yield len(batch)


def decoded(data: Data) -> Iterator[int]:
    """Decode the tiles that the boxes touch from memory, and do nothing with them."""
    numcodecs.blosc.use_threads = False
    store = data.store("lz4")
    chunks = [encoded_chunks(store, field) for field in FIELDS]
    group = zarr.open_group(store, mode="r")
    keys = [bytes(key).rstrip(b"\0").decode() for key in np.asarray(group["case_key"])]
    first = dict(zip(keys, np.asarray(group["case_first_tile"]).tolist(), strict=True))
    layouts = open_split(store).layouts
    tile = [memoryview(aligned((layouts[field].sample_nbytes,))) for field in FIELDS]
    for batch in batches_of(data):
        for case, box in batch:
            for number in touched(data.work.size, data.work.tile, box):
                row = first[data.work.keys[case]] + number
                for encoded, target in zip(chunks, tile, strict=True):
                    numcodecs.blosc.decompress(encoded[row], target)
        yield len(batch)


def touched(size: Sequence[int], tile: Sequence[int], box: Box) -> list[int]:
    """Return the numbers of the tiles that a box touches.

    Examples
    --------
    >>> touched((5, 7), (2, 3), (slice(1, 2), slice(2, 5)))
    [0, 1]
    """
    grid = [-(-extent // step) for extent, step in zip(size, tile, strict=True)]
    along = [range(p.start // s, -(-p.stop // s)) for p, s in zip(box, tile, strict=True)]
    return [int(np.ravel_multi_index(place, grid)) for place in itertools.product(*along)]


WAYS: Mapping[str, Way] = {
    "limit: slices of arrays in RAM": partial(slices, in_memory=True),
    "limit: Blosc-LZ4 of touched tiles decoded from RAM": decoded,
    "np.memmap of whole cases": partial(slices, in_memory=False),
}
