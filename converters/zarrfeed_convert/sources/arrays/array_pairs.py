"""How do arrays in files become images and masks?

HDF5, NumPy and Zarr share this; each one's module says how its files are read.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.limits import Limits
from zarrfeed_convert.decoding.pixels import Pixels
from zarrfeed_convert.mask_ids import several_values
from zarrfeed_convert.source import JSON, Header, Image, Mask, Source
from zarrfeed_convert.sources.arrays.array_attributes import require_one_way_up
from zarrfeed_convert.sources.arrays.array_files import FoundArray, Stack
from zarrfeed_convert.sources.arrays.array_layout import Layout, layouts_of
from zarrfeed_convert.sources.name_pairs import pair_all, unpaired
from zarrfeed_convert.sources.read_errors import reading
from zarrfeed_convert.sources.value_options import Meaning
from zarrfeed_convert.sources.values import packed_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.pixels import Color
    from zarrfeed_convert.mask_map import MaskMap
    from zarrfeed_convert.sources.arrays.array_files import ArrayFiles

# An error stands for an array that cannot be read.
Measured: TypeAlias = tuple[FoundArray, Stack | SourceError]


@dataclass(frozen=True, slots=True)
class Side:
    """The arrays of images, or those of masks, in the order of their samples."""

    stacks: tuple[Stack, ...]
    layout: Layout
    ends: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        counts = (self.layout.count(stack.shape) for stack in self.stacks)
        object.__setattr__(self, "ends", tuple(accumulate(counts)))

    def locate(self, sample: int) -> tuple[Stack, int | None]:
        """Say in which array a sample is, and where on its axis 0; None for all of it."""
        place = bisect_right(self.ends, sample)
        before = self.ends[place - 1] if place else 0
        return self.stacks[place], sample - before if self.layout.stacked else None

    def name(self, sample: int) -> str:
        """Name a sample, like ``cells.h5:/images[12]``."""
        stack, row = self.locate(sample)
        return stack.found.name if row is None else f"{stack.found.name}[{row}]"


def measure_all(files: ArrayFiles, address: str, what: str) -> list[Measured]:
    """Read the headers of all arrays; an error stands for one that cannot be read."""
    measured: list[Measured] = []
    for found in files.find(address, what):
        try:
            with reading(found.name):
                measured.append((found, files.measure(found)))
        except SourceError as error:
            measured.append((found, error))
    errors = [stack for _, stack in measured if isinstance(stack, SourceError)]
    if len(errors) == len(measured):
        raise errors[0]
    return measured


def pair_arrays(
    images: list[Measured], masks: list[Measured]
) -> tuple[tuple[Stack, ...], tuple[Stack, ...], tuple[tuple[str, str], ...]]:
    """Bring images and masks into one order, and leave out the pairs that cannot be read."""
    stems = [[found.stem for found, _ in side] for side in (images, masks)]
    if len(images) != len(masks):
        for _, stack in (*images, *masks):
            if isinstance(stack, SourceError):
                raise stack
        return _stacks(images), _stacks(masks), ()
    pairs = [(images[i], masks[j]) for i, j in enumerate(pair_all(*stems))]
    failed = [
        next((found.name, stack) for found, stack in pair if isinstance(stack, SourceError))
        for pair in pairs
        if not all(isinstance(stack, Stack) for _, stack in pair)
    ]
    if len(failed) == len(pairs):
        raise failed[0][1]
    whole = [pair for pair in pairs if all(isinstance(stack, Stack) for _, stack in pair)]
    left_out = tuple((name, str(error).removeprefix(f"{name}: ")) for name, error in failed)
    return _stacks([image for image, _ in whole]), _stacks([mask for _, mask in whole]), left_out


def _stacks(side: Sequence[Measured]) -> tuple[Stack, ...]:
    return tuple(stack for _, stack in side if isinstance(stack, Stack))


def sides_of(
    images: tuple[Stack, ...],
    masks: tuple[Stack, ...],
    *,
    channels_first: bool,
    one_hot: bool,
) -> tuple[Side, Side]:
    """Find the samples of all arrays.

    Raises
    ------
    SourceError
        There are not as many images as masks, or the arrays have no samples.
    """
    shapes = [[stack.shape for stack in side] for side in (images, masks)]
    try:
        axes = layouts_of(*shapes, channels_first=channels_first, one_hot=one_hot)
    except SourceError:
        stems = [[stack.found.stem for stack in side] for side in (images, masks)]
        if len(images) != len(masks) and (lone := unpaired(*stems)):
            raise SourceError(lone) from None
        raise
    return Side(images, axes[0]), Side(masks, axes[1])


class ArrayPairs(Source):
    """Images and masks that are arrays in files: what all such sources share.

    A class for a kind of files has a `kind`, and says by :meth:`_reader` how they are read.
    """

    kind: str

    def __init__(
        self,
        images: str | os.PathLike[str],
        masks: str | os.PathLike[str],
        *,
        keys: str = "",
        channels_first: bool = False,
        one_hot: bool = False,
        color: Color = "auto",
        mask_map: str | MaskMap = "",
        limits: Limits | None = None,
    ) -> None:
        self._limits = limits or Limits()
        self._files = self._reader()
        self._arguments = {
            "images": os.fspath(images),
            "masks": os.fspath(masks),
            "keys": keys,
            "channels_first": channels_first,
            "one_hot": one_hot,
        }
        self._meaning = Meaning.of(color, mask_map)
        self._of_masks = self._meaning.one_hot() if one_hot else self._meaning
        image_stacks, mask_stacks, self.left_out = pair_arrays(
            measure_all(self._files, os.fspath(images), "images"),
            measure_all(self._files, os.fspath(masks), "masks"),
        )
        self._images, self._masks = sides_of(
            image_stacks,
            mask_stacks,
            channels_first=channels_first,
            one_hot=self._of_masks.mask_map.one_hot is not None,
        )
        self._require_readable()
        self._keys = self._named_by(keys) if keys else _keys(self._images)

    @property
    def keys(self) -> Sequence[str]:
        """The texts that the files hold for it; else the file's stem, and the place in a stack."""
        return self._keys

    @property
    def memory_nbytes(self) -> int:
        """How many bytes each process keeps in memory, at most."""
        kept = sorted(
            stack.kept
            for side in (self._images, self._masks)
            for stack in side.stacks
            if side.layout.stacked
        )
        return max(min(sum(kept), self._files.bound), sum(kept[-2:]))

    def describe(self) -> JSON:
        """Say where the arrays are, as JSON."""
        sides = self._images, self._masks
        stacks = [side.stacks[0] for side in sides]
        return {
            "kind": self.kind,
            **self._arguments,
            **self._meaning.describe(),
            "facts": {
                "arrays": [len(side.stacks) for side in sides],
                "axes": [side.layout.axes for side in sides],
                "dtypes": [stack.dtype.name for stack in stacks],
                "samples_per_chunk": [
                    stack.together if side.layout.stacked else 1
                    for side, stack in zip(sides, stacks, strict=True)
                ],
            },
        }

    def names(self, sample: int) -> tuple[str, str]:
        """Name the file, the array and the place of a sample's image and of its mask."""
        return self._images.name(sample), self._masks.name(sample)

    def probe(self, sample: int) -> Header:
        """Give what the arrays' headers say of a sample."""
        stack, _ = self._images.locate(sample)
        layout = self._images.layout
        channels = self._meaning.channels(layout.channels(stack.shape), name=stack.found.name)
        dtype = packed_dtype(stack.shown_dtype, stack.found.name)
        mask_size = self._masks.layout.size(self._masks.locate(sample)[0].shape)
        nodata = stack.meant.nodata
        return Header(*layout.size(stack.shape), channels, dtype, *mask_size, nodata=nodata)

    def read(self, sample: int) -> tuple[Image, Mask]:
        """Read a sample."""
        name = self._images.name(sample)
        values = self._values(self._images, sample)
        return self._meaning.image(values, name=name), self.read_mask(sample)

    def read_mask(self, sample: int) -> Mask:
        """Read a sample's mask."""
        name, nodata = self._masks.name(sample), self._masks.locate(sample)[0].meant.nodata
        values = Pixels(self._values(self._masks, sample), nodata=nodata)
        return self._of_masks.mask(values, name=name)

    def _reader(self) -> ArrayFiles:
        raise NotImplementedError

    def _values(self, side: Side, sample: int) -> NDArray[Any]:
        stack, row = side.locate(sample)
        name = side.name(sample)
        if stack.gaps and stack.gaps.spoil(row, mask=side is self._masks):
            raise SourceError(
                f"{name}: needed values, found none, or not all, ever written: a fill value is "
                "read in their place; write them, or leave the sample out with --on-error skip"
            )
        with reading(name):
            values = stack.meant.values(self._files.read(stack, row, name))
        return side.layout.arrange(values)

    def _require_readable(self) -> None:
        """Refuse what is wrong with all samples of an array."""
        for side in (self._images, self._masks):
            for stack in side.stacks:
                sample = stack.shape[1:] if side.layout.stacked else stack.shape
                self._limits.require(sample, stack.dtype, stack.found.name, "a sample")
                self._limits.require_count(side.layout.count(stack.shape), stack.found.name)
        for stack in self._images.stacks:
            packed_dtype(stack.dtype, stack.found.name)
            channels = self._images.layout.channels(stack.shape)
            self._meaning.channels(channels, name=stack.found.name)
        meant = ([stack.meant for stack in side.stacks] for side in (self._images, self._masks))
        require_one_way_up(*meant, name=self._masks.stacks[0].found.name)
        if all(stack.gaps and stack.gaps.everywhere for stack in self._masks.stacks):
            raise SourceError(
                f"{self._masks.stacks[0].found.name}: needed masks, found an array of which "
                "nothing was ever written; check that its chunks were copied with it"
            )
        for stack in self._masks.stacks:
            packed_dtype(stack.dtype, stack.found.name)
            values = self._masks.layout.channels(stack.shape)
            colors = stack.dtype == np.uint8 or self._meaning.mask_map.colors
            colored = values in (3, 4) and colors
            if values > 1 and not colored and self._of_masks.mask_map.one_hot is None:
                raise SourceError(several_values(stack.found.name, values))

    def _named_by(self, array: str) -> list[str]:
        """Read the samples' names, an array of texts in every file of images."""
        keys: list[str] = []
        for stack in self._images.stacks:
            file, count = stack.found.file, self._images.layout.count(stack.shape)
            with reading(f"{file}:{array}"):
                texts = self._files.texts(file, array)
            if len(texts) != count:
                raise SourceError(
                    f"{file}:{array}: needed a name for each of {count} samples, found "
                    f"{len(texts)}; choose another -o keys, or none"
                )
            keys += texts
        often, times = Counter(keys).most_common(1)[0]
        if times > 1 or "" in keys:
            found = f"{often!r} {times} times" if times > 1 else "an empty one"
            raise SourceError(
                f"keys: needed a different name for every sample, found {found}; choose another "
                "-o keys, or none"
            )
        return keys


def _keys(images: Side) -> list[str]:
    if not images.layout.stacked:
        return [stack.found.stem for stack in images.stacks]
    keys = []
    for stack in images.stacks:
        digits = max(4, len(str(stack.shape[0] - 1)))
        keys += [f"{stack.found.stem}/{row:0{digits}}" for row in range(stack.shape[0])]
    return keys
