"""How is a plane or a volume, or a part of one, read from an array of an OME-Zarr image?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed_convert.sources.arrays.array_files import chunks_cut, chunks_of_sample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zarrfeed.store.ome_places import Placement
    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.source import Window
    from zarrfeed_convert.sources.arrays.zarr_reading import ZarrReading
    from zarrfeed_convert.sources.axes import Axes


@dataclass(frozen=True, slots=True)
class Level:
    """An image's or a label's array, in one resolution.

    Attributes
    ----------
    path
        Of the array.
    axes
        Of t, c, z, y and x. Those along which samples are counted are t, and z if a sample is a
        plane.
    dtype, chunks
        Of the array.
    stored
        Whether any of its chunks is there.
    spatial
        The axes of a sample, ``yx`` or ``zyx``, of which the array may lack z.
    place
        Where its pixels lie, if the metadata says it.
    """

    path: str
    axes: Axes
    dtype: np.dtype[Any]
    chunks: tuple[int, ...]
    stored: bool
    spatial: str = "yx"
    place: Placement | None = None

    @property
    def size(self) -> tuple[int, ...]:
        """Size of a sample: (H, W) or (D, H, W)."""
        return tuple(map(self.axes.length, self.spatial))

    @property
    def chunk(self) -> tuple[int, ...]:
        """Size of a chunk along the axes of samples."""
        lengths = dict(zip(self.axes.letters, self.chunks, strict=True))
        return tuple(lengths.get(axis, 1) for axis in self.spatial)

    @property
    def shares_chunks(self) -> bool:
        """Return whether a chunk holds a part of several samples, or of several channels."""
        lengths = zip(self.axes.letters, self.chunks, strict=True)
        return any(chunk > 1 for axis, chunk in lengths if axis not in self.spatial)

    @property
    def reads_windows(self) -> bool:
        """Return whether a part of a sample is read without all of it."""
        return chunks_cut(self.chunks, self.axes, self.dtype)

    def require_room(self, channels: int, limits: Limits) -> None:
        """Refuse what the array claims, before memory is taken.

        Raises
        ------
        SourceError
            Too much, where samples are only read as a whole; else too many chunks.
        """
        if not self.reads_windows:
            limits.require((*self.size, channels), self.dtype, self.path, self.what)
        limits.require_count(chunks_of_sample(self.chunks, self.axes), self.path, "chunks")

    @property
    def what(self) -> str:
        """What a sample is, for errors."""
        return "a volume" if len(self.spatial) == 3 else "a plane"


def read_level(
    reading: ZarrReading, level: Level, sample: int, channels: Sequence[int], window: Window | None
) -> NDArray[Any]:
    """Read a sample, or a part of it, without the other channels.

    Parameters
    ----------
    reading
        Reads the array.
    level
        The array.
    sample
        Number of the sample along the axes that count samples.
    channels
        Which channels, in order.
    window
        A slice of each axis of a sample; None for all of it.

    Returns
    -------
    ndarray
        (H, W, C) or (D, H, W, C), in new memory.
    """
    axes = level.axes
    if window is None and level.spatial == "yx":
        return np.stack([_plane(reading, level, sample, channel) for channel in channels], axis=-1)
    size = level.size if window is None else tuple(cut.stop - cut.start for cut in window)
    part = [slice(0, length) for length in axes.sizes]
    for axis, at in zip(axes.samples, axes.place(sample), strict=True):
        part[axis] = slice(at, at + 1)
    for letter, cut in zip(level.spatial, window or (), strict=window is not None):
        if letter in axes.letters:
            part[axes.letters.index(letter)] = cut
    one = tuple(0 if axis in axes.samples else slice(None) for axis in range(len(part)))
    values = []
    for first, last, taken in _runs(level, channels):
        if axes.channels is not None:
            part[axes.channels] = slice(first, last)
        found = axes.arrange(reading.read_part(level.path, part)[one])
        values.append(found.reshape(*size, -1)[..., taken])
    return values[0] if len(values) == 1 else np.concatenate(values, axis=-1)


def _runs(level: Level, channels: Sequence[int]) -> list[tuple[int, int, list[int] | slice]]:
    """Return what to read of the channels, and which of it to take.

    Channels that share chunks are read together, others one by one.
    """
    axis = level.axes.channels
    if axis is None or (level.chunks[axis] == 1 and len(channels) > 1):
        return [(channel, channel + 1, slice(None)) for channel in channels]
    first, last = min(channels), max(channels) + 1
    taken = [channel - first for channel in channels]
    return [(first, last, slice(None) if taken == list(range(last - first)) else taken)]


def _plane(reading: ZarrReading, level: Level, plane: int, channel: int) -> NDArray[Any]:
    index = enumerate(level.axes.index(plane, channel))
    picks = {axis: at for axis, at in index if isinstance(at, int)}
    return level.axes.arrange(reading.read(level.path, picks), channel)
