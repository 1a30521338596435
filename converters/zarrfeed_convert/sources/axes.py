"""Which axes of an array are samples, space and channels, and where is sample i?

Pure functions of letters and lengths. One law holds for TIFF stacks (``TZCYX``), arrays (``NHWC``),
NIfTI volumes (``xyz``, some of whose axes must be reversed) and OME-Zarr (``tczyx``):

    arrange(array[index(i)])  is sample i, as (H, W) or (D, H, W), with channels last if it has any
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

ALL = -1  # all channels


@dataclass(frozen=True, slots=True)
class Axes:
    """The meaning of an array's axes.

    Attributes
    ----------
    letters, sizes
        Letter and length of each axis. Letters may be repeated.
    samples
        Axes that count samples, the slowest one first.
    spatial
        Axes of rows and columns, or of planes, rows and columns.
    channels
        Axis of the channels; None if there is none.
    flipped
        Axes to reverse.

    Examples
    --------
    >>> import numpy as np
    >>> axes = Axes.named("NCHW", (10, 3, 4, 5))
    >>> axes.count, axes.size, axes.channel_count, axes.index(7)
    (10, (4, 5), 3, (7, slice(None, None, None), slice(None, None, None), slice(None, None, None)))
    >>> axes.arrange(np.zeros((3, 4, 5))).shape
    (4, 5, 3)
    """

    letters: str
    sizes: tuple[int, ...]
    samples: tuple[int, ...]
    spatial: tuple[int, ...]
    channels: int | None = None
    flipped: frozenset[int] = frozenset()

    @classmethod
    def named(
        cls,
        letters: str,
        sizes: Sequence[int],
        *,
        samples: str = "N",
        spatial: str = "DHW",
        channels: str = "C",
    ) -> Axes:
        """Create axes from one letter per axis; sample and channel letters may be missing."""
        return cls(
            letters,
            tuple(sizes),
            tuple(letters.index(letter) for letter in samples if letter in letters),
            tuple(letters.index(letter) for letter in spatial if letter in letters),
            letters.index(channels) if channels in letters else None,
        )

    @property
    def counts(self) -> tuple[int, ...]:
        """Lengths of the axes that count samples."""
        return tuple(self.sizes[axis] for axis in self.samples)

    @property
    def count(self) -> int:
        """Number of samples."""
        return prod(self.counts)

    @property
    def counted(self) -> str:
        """Letters of the axes that count samples."""
        return "".join(self.letters[axis] for axis in self.samples)

    @property
    def size(self) -> tuple[int, ...]:
        """Size of samples: (H, W) or (D, H, W)."""
        return tuple(self.sizes[axis] for axis in self.spatial)

    @property
    def channel_count(self) -> int:
        """Number of channels; 1 if there is no such axis."""
        return 1 if self.channels is None else self.sizes[self.channels]

    def length(self, letter: str) -> int:
        """Return the length of the axis with a letter; 1 if there is none."""
        return self.sizes[self.letters.index(letter)] if letter in self.letters else 1

    def place(self, sample: int) -> tuple[int, ...]:
        """Return the index of a sample along each axis that counts samples."""
        place = []
        for size in reversed(self.counts):
            sample, at = divmod(sample, size)
            place.append(int(at))
        return tuple(reversed(place))

    def index(
        self, sample: int, channel: int = ALL, window: Sequence[slice] = ()
    ) -> tuple[int | slice, ...]:
        """Return the index that selects a sample, or a part of it, from the array.

        Parameters
        ----------
        sample
            Number of the sample.
        channel
            Its only channel to select.
        window
            A slice of each axis of :attr:`spatial`, with start, stop and step 1, after axes are
            reversed; none to select the sample as a whole.

        Examples
        --------
        >>> Axes("xyz", (5, 6, 7), (), (2, 1, 0), flipped=frozenset([0])).index(
        ...     0, window=(slice(0, 1), slice(0, 6), slice(0, 2))
        ... )
        (slice(3, 5, None), slice(0, 6, None), slice(0, 1, None))
        """
        index: list[int | slice] = [slice(None)] * len(self.sizes)
        for axis, at in zip(self.samples, self.place(sample), strict=True):
            index[axis] = self.sizes[axis] - 1 - at if axis in self.flipped else at
        for axis, part in zip(self.spatial, window, strict=bool(window)):
            last = self.sizes[axis]
            flipped = axis in self.flipped
            index[axis] = slice(last - part.stop, last - part.start) if flipped else part
        if self.channels is not None and channel != ALL:
            index[self.channels] = channel
        return tuple(index)

    def arrange(self, part: NDArray[Any], channel: int = ALL) -> NDArray[Any]:
        """Return a view of what :meth:`index` selects: (H, W) or (D, H, W), channels last."""
        order: list[int] = list(self.spatial)
        if self.channels is not None and channel == ALL:
            order.append(self.channels)
        kept = sorted(order)
        if order == kept and not self.flipped:
            return part
        turned = part.transpose([kept.index(axis) for axis in order])
        return turned[tuple(slice(None, None, -1 if axis in self.flipped else 1) for axis in order)]
