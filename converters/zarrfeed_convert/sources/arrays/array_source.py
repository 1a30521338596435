"""How do arrays in files become samples?

HDF5, NumPy and Zarr share this; each one's module says how its files are read.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed.store.schema import IMAGE, MASK
from zarrfeed_convert.decoding.limits import Limits
from zarrfeed_convert.decoding.pixels import Pixels
from zarrfeed_convert.extra_fields import parse_fields
from zarrfeed_convert.header import Header
from zarrfeed_convert.mask_ids import several_values
from zarrfeed_convert.source import IMAGES_ONLY, JSON, PAIR, Mask, Source
from zarrfeed_convert.sources.arrays.array_attributes import require_one_way_up
from zarrfeed_convert.sources.arrays.array_files import chunks_cut, chunks_of_sample
from zarrfeed_convert.sources.arrays.array_layout import layout_beside, layouts_of
from zarrfeed_convert.sources.arrays.array_sides import (
    Side,
    lone_arrays,
    measure_all,
    pair_arrays,
)
from zarrfeed_convert.sources.field_values import field_values, ids_dtype
from zarrfeed_convert.sources.option_checks import NO_MASKS
from zarrfeed_convert.sources.read_errors import naming_errors
from zarrfeed_convert.sources.value_options import ValueOptions
from zarrfeed_convert.sources.values import fitted, in_rows, packed_dtype

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.pixels import Color
    from zarrfeed_convert.mask_map import MaskMap
    from zarrfeed_convert.source import Field, Window
    from zarrfeed_convert.sources.arrays.array_files import ArrayFiles, Stack
    from zarrfeed_convert.sources.arrays.array_layout import Values
    from zarrfeed_convert.sources.axes import Axes


class ArraySource(Source):
    """Samples that are arrays in files, or entries of such arrays: the base of all such sources.

    A subclass has a `kind`, as ``--format`` takes it, and implements :meth:`_reader`.
    """

    kind: str

    def __init__(
        self,
        images: str | os.PathLike[str],
        masks: str | os.PathLike[str] = "",
        *,
        axes: str = "",
        keys: str = "",
        channels_first: bool = False,
        one_hot: bool = False,
        color: Color = "auto",
        mask_map: str | MaskMap = "",
        fields: Mapping[str, str] | None = None,
        limits: Limits | None = None,
    ) -> None:
        masks = "" if masks == NO_MASKS else masks
        extras = parse_fields(fields)
        has_ids = any(extra.field.role == "mask" for extra in extras)
        if not (masks or has_ids) and (one_hot or str(mask_map)):
            raise SourceError(
                "--masks: is needed to find masks, and so that --mask-map and one_hot have a "
                "meaning; leave these out to pack images alone"
            )
        if axes and channels_first:
            raise SourceError(
                "options: needed axes or channels_first, found both; leave channels_first out"
            )
        self.fields = (*(PAIR if masks else IMAGES_ONLY), *(extra.field for extra in extras))
        self._limits = limits or Limits()
        self._files = self._reader()
        self._options = ValueOptions.of(color, mask_map)
        self._of_masks = self._options.one_hot() if one_hot else self._options
        places = {"images": os.fspath(images)} | ({"masks": os.fspath(masks)} if masks else {})
        places |= {extra.field.name: extra.place for extra in extras}
        stacks, self.left_out = pair_arrays(
            [measure_all(self._files, place, what) for what, place in places.items()]
        )
        layouts = self._layouts(stacks, axes=axes.upper(), channels_first=channels_first)
        self._sides = {
            field.name: Side.of(side, layout)
            for field, side, layout in zip(self.fields, stacks, layouts, strict=True)
        }
        self._require_readable()
        of_images = self._sides[IMAGE]
        self._keys = of_images.keys_in(keys, self._files) if keys else of_images.keys()

    @property
    def keys(self) -> Sequence[str]:
        """The texts that the files hold for it; else the file's stem, and the place in a stack."""
        return self._keys

    @property
    def memory_nbytes(self) -> int:
        """Upper bound on the bytes that each process keeps in memory."""
        kept = sorted(
            stack.kept for side in self._sides.values() for stack in side.stacks if side.stacked
        )
        return max(min(sum(kept), self._files.bound), sum(kept[-2:]))

    def describe(self) -> JSON:
        """Return where the arrays are, as JSON."""
        sides = self._sides.values()
        said = {name: value for name, value in self.arguments.items() if value or name != "axes"}
        return {
            "kind": self.kind,
            **said,
            **self._options.describe(),
            "facts": {
                "arrays": [len(side.stacks) for side in sides],
                "axes": [side.layout for side in sides],
                "dtypes": [side.stacks[0].dtype.name for side in sides],
                "samples_per_chunk": [
                    side.stacks[0].together if side.stacked else 1 for side in sides
                ],
            },
        }

    def names(self, sample: int) -> tuple[str, ...]:
        """Name the file, the array and the place of each field of a sample."""
        return tuple(side.name(sample) for side in self._sides.values())

    def probe(self, sample: int) -> Header:
        """Return what the arrays' headers say of a sample."""
        arrays = {field.name: self._header(field, sample) for field in self.fields}
        nodata = dict.fromkeys(
            value
            for field in self.fields
            if field.role != "mask"  # masks with such pixels are refused
            for value in self._sides[field.name].locate(sample)[0].encoding.nodata
        )
        return Header(arrays, nodata=tuple(nodata))

    def read(self, sample: int) -> tuple[NDArray[Any], ...]:
        """Read a sample."""
        return tuple(self._read(field, sample) for field in self.fields)

    def read_mask(self, sample: int) -> Mask:
        """Read a sample's mask."""
        return self._read(PAIR[1], sample)

    def require_whole(self, sample: int, header: Header) -> None:  # noqa: ARG002 (as it is stored)
        """Refuse a sample that is too large to be read as a whole."""
        for field in self.fields:
            self._require_allowed(field, sample)

    def _require_allowed(self, field: Field, sample: int) -> None:
        side = self._sides[field.name]
        stack, _, _ = side.locate(sample)
        what = "a sample without --tile"
        self._limits.require(side.sample(stack), stack.dtype, side.name(sample), what)

    def reads_windows(self, sample: int) -> bool:
        """Return whether all arrays are stored in parts of samples, or uncompressed."""
        places = (side.locate(sample) for side in self._sides.values())
        return all(chunks_cut(stack.chunks, axes, stack.dtype) for stack, axes, _ in places)

    def decoded_together(self, sample: int) -> tuple[int, ...]:
        """Return the largest chunk of the arrays, along the axes of samples."""
        places = [side.locate(sample) for side in self._sides.values()]
        chunks = [
            [stack.chunks[axis] for axis in axes.spatial]
            for stack, axes, _ in places
            if stack.chunks is not None
        ]
        return tuple(map(max, zip(*chunks, strict=True)))

    def read_window(self, sample: int, window: Window) -> tuple[NDArray[Any], ...]:
        """Read a part of a sample, by the chunks that hold some of it."""
        if not self.reads_windows(sample):
            return super().read_window(sample, window)
        return tuple(self._read(field, sample, window) for field in self.fields)

    def read_mask_window(self, sample: int, window: Window) -> Mask:
        """Read a part of a sample's mask."""
        if not self.reads_windows(sample):
            return super().read_mask_window(sample, window)
        return self._read(PAIR[1], sample, window)

    def _reader(self) -> ArrayFiles:
        raise NotImplementedError

    def _header(self, field: Field, sample: int) -> tuple[tuple[int, ...], str | None]:
        """Return the shape and the dtype that a field of a sample will have."""
        stack, axes, _ = self._sides[field.name].locate(sample)
        name = stack.found.name
        if field.role == "image":
            count = self._options.channels(axes.channel_count, name=name)
            return (*axes.size, count), packed_dtype(stack.shown_dtype, name)
        if field.role == "mask":
            read = np.dtype(np.float64) if stack.encoding.scales else stack.shown_dtype
            ids = None if field.name == MASK else ids_dtype(read, self._of_masks.mask_map)
            return self._of_masks.mask_shape(axes.size, axes.channel_count), ids
        rest = (axes.channel_count,) if axes.channel_count > 1 else ()
        return axes.size + rest, packed_dtype(stack.shown_dtype, name)

    def _read(self, field: Field, sample: int, window: Window = ()) -> NDArray[Any]:
        side = self._sides[field.name]
        name, (stack, axes, _) = side.name(sample), side.locate(sample)
        size = tuple(part.stop - part.start for part in window) or axes.size
        rows = self._rows(field, sample, window)
        pixels = Pixels(rows, bands=True, nodata=stack.encoding.nodata)
        if field.name == MASK:
            values = self._of_masks.mask(pixels, name=name)
        else:
            values = field_values(field, pixels, self._of_masks, name=name)
        return values.reshape(*size, *values.shape[2:])

    def _rows(self, field: Field, sample: int, window: Window) -> NDArray[Any]:
        """Read (H, W) or (H, W, C) of a field; the rows of a volume's planes follow each other."""
        side = self._sides[field.name]
        stack, axes, row = side.locate(sample)
        name = side.name(sample)
        if stack.unwritten and stack.unwritten.affects(row, mask=field.role == "mask"):
            raise SourceError(
                f"{name}: needed values, found none, or not all, ever written: a fill value is "
                "read in their place; write them, or leave the sample out with --on-error skip"
            )
        if not window:
            self._require_allowed(field, sample)
        with naming_errors(name):
            if window:
                found = self._part(stack, axes, row, window, name)
            else:
                found = self._files.read(stack, row, name)
            values = stack.encoding.values(found)
        if stack.encoding.scales and field.role != "mask":
            values = fitted(values, stack.shown_dtype, name)
        return in_rows(axes.arrange(values), len(axes.spatial))

    def _part(
        self, stack: Stack, axes: Axes, row: int | None, window: Window, name: str
    ) -> NDArray[Any]:
        """Read what a window selects of an array: its axes, without the one that counts samples."""
        part = [
            slice(each, each + 1) if isinstance(each, int) else slice(*each.indices(size))
            for each, size in zip(axes.index(row or 0, window=window), axes.sizes, strict=True)
        ]
        values = self._files.read_part(stack, part, name)
        return values if row is None else values[0]

    def _layouts(
        self, stacks: Sequence[Sequence[Stack]], *, axes: str, channels_first: bool
    ) -> list[str]:
        """Find the axes of the arrays of each field."""
        shapes = [[stack.shape for stack in side] for side in stacks]
        masks = self.fields[1:2] == PAIR[1:]
        of_masks: Values = "classes" if self._of_masks.mask_map.by_channel else "one"
        try:
            image, mask = layouts_of(
                shapes[0],
                shapes[1] if masks else [],
                axes=axes,
                channels_first=channels_first,
                values=of_masks,
            )
        except SourceError:
            if masks and (lone := lone_arrays(*stacks[:2])):
                raise SourceError(lone) from None
            raise
        layouts = [image, mask] if masks else [image]
        for field, more in zip(self.fields[len(layouts) :], shapes[len(layouts) :], strict=True):
            values: Values = of_masks if field.role == "mask" else "any"
            layouts.append(layout_beside(image, shapes[0], more, field.name, values))
        return layouts

    def _require_readable(self) -> None:
        """Refuse what is wrong with all samples of an array."""
        for side in self._sides.values():
            for stack, axes in side.pairs():
                name = stack.found.name
                if chunks_cut(stack.chunks, axes, stack.dtype):
                    if stack.chunks:
                        count = chunks_of_sample(stack.chunks, axes)
                        self._limits.require_count(count, name, "chunks")
                else:
                    self._limits.require(side.sample(stack), stack.dtype, name, "a sample")
                self._limits.require_count(axes.count, stack.found.name)
                packed_dtype(stack.dtype, stack.found.name)
        images = [stack.encoding for stack in self._sides[IMAGE].stacks]
        for field in self.fields[1:]:
            stacks = self._sides[field.name].stacks
            require_one_way_up(
                images,
                [stack.encoding for stack in stacks],
                name=stacks[0].found.name,
                what="masks" if field.name == MASK else field.name,
            )
        for field in self.fields:
            if field.role == "image":
                for stack, axes in self._sides[field.name].pairs():
                    self._options.channels(axes.channel_count, name=stack.found.name)
            elif field.role == "mask":
                self._require_masks(self._sides[field.name])

    def _require_masks(self, masks: Side) -> None:
        """Refuse what is wrong with all masks of an array."""
        images = self._sides[IMAGE]
        if all(stack.unwritten and stack.unwritten.everywhere for stack in masks.stacks):
            raise SourceError(
                f"{masks.stacks[0].found.name}: needed masks, found an array of which "
                "nothing was ever written; check that its chunks were copied with it"
            )
        for stack, axes in masks.pairs():
            values = axes.channel_count
            colors = stack.dtype == np.uint8 or self._options.mask_map.colors
            colored = values in (3, 4) and colors
            if values > 1 and not colored and not self._of_masks.mask_map.by_channel:
                volumes = masks.layout == images.layout == "NHWC"
                advice = "; or --option axes=NDHW, if they are volumes" if volumes else ""
                raise SourceError(several_values(stack.found.name, values) + advice)
