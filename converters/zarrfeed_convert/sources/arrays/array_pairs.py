"""How do arrays in files become images and masks?

HDF5, NumPy and Zarr share this; each one's module says how its files are read.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.limits import Limits
from zarrfeed_convert.decoding.pixels import Pixels
from zarrfeed_convert.mask_ids import several_values
from zarrfeed_convert.source import JSON, Header, Image, Mask, Source
from zarrfeed_convert.sources.arrays.array_attributes import require_one_way_up
from zarrfeed_convert.sources.arrays.array_layout import (
    Side,
    measure_all,
    pair_arrays,
    sides_of,
)
from zarrfeed_convert.sources.read_errors import naming_errors
from zarrfeed_convert.sources.value_options import ValueOptions
from zarrfeed_convert.sources.values import packed_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.pixels import Color
    from zarrfeed_convert.mask_map import MaskMap
    from zarrfeed_convert.sources.arrays.array_files import ArrayFiles


class ArrayPairs(Source):
    """Images and masks that are arrays in files: the base of all such sources.

    A subclass has a `kind`, as ``--format`` takes it, and implements :meth:`_reader`.
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
        self._options = ValueOptions.of(color, mask_map)
        self._of_masks = self._options.one_hot() if one_hot else self._options
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
            if side.stacked
        )
        return max(min(sum(kept), self._files.bound), sum(kept[-2:]))

    def describe(self) -> JSON:
        """Return where the arrays are, as JSON."""
        sides = self._images, self._masks
        stacks = [side.stacks[0] for side in sides]
        return {
            "kind": self.kind,
            **self.arguments,
            **self._options.describe(),
            "facts": {
                "arrays": [len(side.stacks) for side in sides],
                "axes": [side.layout for side in sides],
                "dtypes": [stack.dtype.name for stack in stacks],
                "samples_per_chunk": [
                    stack.together if side.stacked else 1
                    for side, stack in zip(sides, stacks, strict=True)
                ],
            },
        }

    def names(self, sample: int) -> tuple[str, str]:
        """Name the file, the array and the place of a sample's image and of its mask."""
        return self._images.name(sample), self._masks.name(sample)

    def probe(self, sample: int) -> Header:
        """Return what the arrays' headers say of a sample."""
        stack, axes, _ = self._images.locate(sample)
        channels = self._options.channels(axes.channel_count, name=stack.found.name)
        dtype = packed_dtype(stack.shown_dtype, stack.found.name)
        mask_size = self._masks.locate(sample)[1].size
        nodata = stack.encoding.nodata
        return Header.of_pair((*axes.size, channels), dtype, mask_size, nodata=nodata)

    def read(self, sample: int) -> tuple[Image, Mask]:
        """Read a sample."""
        name = self._images.name(sample)
        values = self._values(self._images, sample)
        return self._options.image(values, name=name), self.read_mask(sample)

    def read_mask(self, sample: int) -> Mask:
        """Read a sample's mask."""
        name, nodata = self._masks.name(sample), self._masks.locate(sample)[0].encoding.nodata
        values = Pixels(self._values(self._masks, sample), nodata=nodata)
        return self._of_masks.mask(values, name=name)

    def _reader(self) -> ArrayFiles:
        raise NotImplementedError

    def _values(self, side: Side, sample: int) -> NDArray[Any]:
        stack, axes, row = side.locate(sample)
        name = side.name(sample)
        if stack.unwritten and stack.unwritten.affects(row, mask=side is self._masks):
            raise SourceError(
                f"{name}: needed values, found none, or not all, ever written: a fill value is "
                "read in their place; write them, or leave the sample out with --on-error skip"
            )
        with naming_errors(name):
            values = stack.encoding.values(self._files.read(stack, row, name))
        return axes.arrange(values)

    def _require_readable(self) -> None:
        """Refuse what is wrong with all samples of an array."""
        for side in (self._images, self._masks):
            for stack, axes in zip(side.stacks, side.axes, strict=True):
                sample = stack.shape[1:] if side.stacked else stack.shape
                self._limits.require(sample, stack.dtype, stack.found.name, "a sample")
                self._limits.require_count(axes.count, stack.found.name)
        for stack, axes in zip(self._images.stacks, self._images.axes, strict=True):
            packed_dtype(stack.dtype, stack.found.name)
            self._options.channels(axes.channel_count, name=stack.found.name)
        encodings = (
            [stack.encoding for stack in side.stacks] for side in (self._images, self._masks)
        )
        require_one_way_up(*encodings, name=self._masks.stacks[0].found.name)
        if all(stack.unwritten and stack.unwritten.everywhere for stack in self._masks.stacks):
            raise SourceError(
                f"{self._masks.stacks[0].found.name}: needed masks, found an array of which "
                "nothing was ever written; check that its chunks were copied with it"
            )
        for stack, axes in zip(self._masks.stacks, self._masks.axes, strict=True):
            packed_dtype(stack.dtype, stack.found.name)
            values = axes.channel_count
            colors = stack.dtype == np.uint8 or self._options.mask_map.colors
            colored = values in (3, 4) and colors
            if values > 1 and not colored and self._of_masks.mask_map.one_hot is None:
                raise SourceError(several_values(stack.found.name, values))

    def _named_by(self, array: str) -> list[str]:
        """Read the samples' names, an array of texts in every file of images."""
        keys: list[str] = []
        for stack, axes in zip(self._images.stacks, self._images.axes, strict=True):
            file, count = stack.found.file, axes.count
            with naming_errors(f"{file}:{array}"):
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
    if not images.stacked:
        return [stack.found.stem for stack in images.stacks]
    keys = []
    for stack in images.stacks:
        digits = max(4, len(str(stack.shape[0] - 1)))
        keys += [f"{stack.found.stem}/{row:0{digits}}" for row in range(stack.shape[0])]
    return keys
