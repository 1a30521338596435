"""What samples do pairs of files of volumes make: slices, or volumes?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed_convert.header import Header
from zarrfeed_convert.source import Mask, Source, Window, whole_window, window_size
from zarrfeed_convert.sources.file_pairs import slice_keys
from zarrfeed_convert.sources.read_errors import naming_errors, place_and_reason, require_any
from zarrfeed_convert.sources.rescale import common_dtype
from zarrfeed_convert.sources.stacks.volume_pairs import Cut, VolumePair, volume_pair_of
from zarrfeed_convert.sources.values import fitted, in_rows, packed_dtype

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.source import JSON
    from zarrfeed_convert.sources.axes import Axes
    from zarrfeed_convert.sources.file_pairs import Pair, Pairing
    from zarrfeed_convert.sources.stacks.nifti_file import Volume, VolumeFiles
    from zarrfeed_convert.sources.value_options import ValueOptions

_VOXELS = 1 << 20  # read at a time: rescaling takes up to 16 bytes for each


class VolumeCases(Source):
    """Volumes in files, with labels or alone: a sample per slice, or per volume.

    A format lists the files of its cases and hands them to :meth:`_open`. Files of 2-D images are
    volumes of one plane, each of which is a sample.
    """

    _unoriented: ClassVar[str] = (  # why files say no orientation, of which the first is {}
        "neither qform nor sform, of which the first is {}: their distances of voxels are known, "
        "their orientation and position are a guess of nibabel (SimpleITK makes another); write "
        "them into the files if models depend on them"
    )

    def _open(
        self,
        found: Pairing,
        files: VolumeFiles,
        cut: Cut,
        options: ValueOptions,
        *,
        channels: Sequence[str] = (),
        skip_empty: bool,
        limits: Limits,
    ) -> None:
        """List the samples of some cases, by the headers of their files.

        Parameters
        ----------
        found
            The files of each case.
        files
            How they are read.
        cut, options
            What samples are, and how values are converted.
        channels
            Names of the channels that every image must have; none if any number will do.
        skip_empty
            Leave out samples whose mask is 0 everywhere.
        limits
            What files may claim.

        Raises
        ------
        SourceError
            There is no sample.
        """
        self._cut, self._options, self._limits = cut, options, limits
        self._skip_empty, self._channels = skip_empty, tuple(channels)
        self._files = files
        self._cases: list[VolumePair] = []
        self._places: list[tuple[int, int]] = []
        self._keys: list[str] = []
        self._empty, left_out = 0, [*self.left_out, *found.left_out]
        for pair in found.pairs:
            try:
                self._add(self._measured(pair))
            except SourceError as error:
                left_out.append(place_and_reason(error, pair.files))
        require_any(self._places, left_out, what=self._what)
        self.left_out = tuple(left_out)
        elsewhere = [said for case in self._cases for said in case.elsewhere]
        if elsewhere:
            why = f"voxels are paired by index, as --geometry warn says; the first: {elsewhere[0]}"
            count = f"{_counted(len(elsewhere), 'file')} elsewhere"
            self.remarks = (*self.remarks, ("geometry", count, why))
        unoriented = [volume.path for volume in self._volumes if not volume.oriented]
        if unoriented:
            why = self._unoriented.format(unoriented[0])
            self.remarks = (
                *self.remarks,
                ("no orientation", _counted(len(unoriented), "file"), why),
            )
        self._common = common_dtype(
            (image.stored, image.dtype) for case in self._cases for image in case.images
        )

    @property
    def keys(self) -> Sequence[str]:
        """A volume's name; of slices also the number of the slice in it, from 0."""
        return self._keys

    @property
    def memory_nbytes(self) -> int:
        """Number of decompressed bytes that a process keeps: the files of one case."""
        return self._files.memory_nbytes

    @property
    def _what(self) -> str:
        """What a sample is."""
        if self._cut.images:
            return "image"
        return "volume" if self._cut.axis is None else "slice"

    @property
    def _volumes(self) -> Iterator[Volume]:
        for case in self._cases:
            yield from case.images
            if case.labels:
                yield case.labels

    def _facts(self) -> JSON:
        kind = "images" if self._cut.images else "volumes"
        return {kind: len(self._cases), f"empty_{self._what}s_left_out": self._empty}

    def names(self, sample: int) -> tuple[str, ...]:
        """Name the files, with the slice if samples are slices, like ``scan.nii.gz[z=12]``."""
        case, number = self._locate(sample)
        return tuple(
            self._named(volume, number) for volume in (case.images[0], case.labels) if volume
        )

    def probe(self, sample: int) -> Header:
        """Return the header of a sample, by the headers of its volumes."""
        case, _ = self._locate(sample)
        channels = self._options.channels(case.channels, name=case.images[0].path)
        dtype = packed_dtype(self._common, case.images[0].path)
        mask = None
        if case.labels:
            mask = self._options.mask_shape(case.size, case.labels.channels)
        oriented = case.images[0].oriented
        return Header.of_pair(
            (*case.size, channels), dtype, mask, affine=case.affine, oriented=oriented
        )

    def read(self, sample: int) -> tuple[NDArray[Any], ...]:
        """Read a slice or a volume, and its labels."""
        return self._read(sample, ())

    def require_whole(self, sample: int, header: Header) -> None:
        """Refuse a slice or volume that is too large to be read as a whole."""
        self._require_allowed(header.image.shape, self.names(sample)[0])

    def _require_allowed(self, shape: Sequence[int], name: str) -> None:
        in_tiles = ", or store it as tiles, which are read one by one: --tile 64x64x64"
        advice = in_tiles if len(shape) > 3 else ""
        self._limits.require(shape, self._common, name, _article(self._what), advice=advice)

    def reads_windows(self, sample: int) -> bool:  # noqa: ARG002 (all or none)
        """Return whether samples are volumes: their files are mapped."""
        return self._cut.axis is None

    def read_window(self, sample: int, window: Window) -> tuple[NDArray[Any], ...]:
        """Read a part of a slice or a volume, and of its labels."""
        return self._read(sample, window)

    def read_mask(self, sample: int) -> Mask:
        """Read the labels of a slice or a volume."""
        return self._mask(*self._locate(sample), ())

    def read_mask_window(self, sample: int, window: Window) -> Mask:
        """Read a part of the labels of a slice or a volume."""
        return self._mask(*self._locate(sample), window)

    def _locate(self, sample: int) -> tuple[VolumePair, int]:
        case, number = self._places[sample]
        return self._cases[case], number

    def _named(self, volume: Volume, number: int) -> str:
        if self._cut.axis is None or not self._cut.numbered:
            return volume.path
        return f"{volume.path}[{'xyz'[self._cut.axis]}={number}]"

    def _read(self, sample: int, window: Window) -> tuple[NDArray[Any], ...]:
        case, number = self._locate(sample)
        name = self._named(case.images[0], number)
        channels = self._options.channels(case.channels, name=name)
        size = window_size(window) if window else case.size
        self._require_allowed((*size, channels), name)
        image = np.empty((*size, channels), packed_dtype(self._common, name))
        for start, part in self._parts(case.size, window):
            values = self._options.image(self._values(case, number, part, name), name=name)
            rows = values.reshape(-1, *size[1:], channels)
            image[start : start + len(rows)] = rows
        return (image, self._mask(case, number, window)) if case.labels else (image,)

    def _values(self, case: VolumePair, number: int, window: Window, name: str) -> NDArray[Any]:
        """Read a part of the image, of a volume with its planes below each other."""
        parts = []
        for volume, axes in zip(case.images, case.axes, strict=False):
            about = name if volume is case.images[0] else f"{name}: {volume.path}"
            with naming_errors(about):
                values = self._part(volume, axes, number, window, about)
            values = fitted(values, volume.dtype, about).astype(self._common, copy=False)
            parts.append(in_rows(values, len(case.size)))
        return parts[0] if len(parts) == 1 else np.stack(parts, axis=2)

    def _mask(self, case: VolumePair, number: int, window: Window) -> Mask:
        assert case.labels
        name = self._named(case.labels, number)
        size = window_size(window) if window else case.size
        mask: Mask | None = None
        for start, part in self._parts(case.size, window):
            with naming_errors(name):
                values = self._part(case.labels, case.axes[-1], number, part, name)
            ids = self._options.mask(in_rows(values, len(size)), name=name)
            rows = ids.reshape(-1, *size[1:], *ids.shape[2:])
            if mask is None:
                mask = np.empty((size[0], *rows.shape[1:]), ids.dtype)
            if not np.can_cast(ids.dtype, mask.dtype):  # ids of 16 bits after some of 8
                mask = mask.astype(ids.dtype)
            mask[start : start + len(rows)] = rows
        assert mask is not None
        return mask

    def _part(
        self, volume: Volume, axes: Axes, number: int, window: Window, name: str
    ) -> NDArray[Any]:
        try:
            return axes.arrange(self._files.read(volume, axes.index(number, window=window)[:3]))
        except SourceError as error:  # it names the file, not the slice
            raise SourceError(f"{name}: {str(error).removeprefix(f'{volume.path}: ')}") from error

    def _parts(self, size: Sequence[int], window: Window) -> Iterator[tuple[int, Window]]:
        """Divide a window, or all, into parts along its first axis, with where each begins in it.

        Slices are read at once.
        """
        if self._cut.axis is not None:
            yield 0, window
            return
        first, *rest = window or whole_window(size)
        step = max(1, _VOXELS // max(1, int(np.prod(window_size(tuple(rest))))))
        for at in range(first.start, first.stop, step):
            yield at - first.start, (slice(at, min(at + step, first.stop)), *rest)

    def _add(self, case: VolumePair) -> None:
        """Add the samples of a case, without the empty ones if `skip_empty` is set."""
        self._files.expect([*case.images, *([case.labels] if case.labels else [])])
        numbers = list(range(case.count))
        if self._skip_empty:
            numbers = [number for number in numbers if self._has_classes(case, number)]
        self._empty += case.count - len(numbers)
        self._places += [(len(self._cases), number) for number in numbers]
        numbered = self._cut.numbered
        self._keys += (
            slice_keys(case.key, numbers, case.count) if numbered else [case.key] * len(numbers)
        )
        self._cases.append(case)

    def _has_classes(self, case: VolumePair, number: int) -> bool:
        parts = (window for _, window in self._parts(case.size, ()))
        return any(self._mask(case, number, window).any() for window in parts)

    def _measured(self, pair: Pair) -> VolumePair:
        volumes = []
        for path in pair.files:
            with naming_errors(path):
                volumes.append(self._files.measure(path))
        labels = volumes[-1] if pair.mask else None
        case = volume_pair_of(pair.key, volumes[: len(pair.images)], labels, self._cut)
        if self._channels and case.channels != len(self._channels):
            raise SourceError(
                f"{pair.images[0]}: needed {_counted(len(self._channels), 'channel')} "
                f"({', '.join(self._channels)}), found {case.channels}; add or take out files, or "
                "correct the list of channels"
            )
        plane = (*case.size[-2:], case.channels)  # of a volume, which need not be read as a whole
        about = "an image" if self._cut.images else "a slice"
        self._limits.require(plane, case.images[0].dtype, pair.images[0], about)
        if self._cut.images and case.count != 1:
            raise SourceError(
                f"{pair.images[0]}: needed one image, as in the first file, found {case.count} "
                "pages; save all as images, or all as volumes"
            )
        self._limits.require_count(case.count, pair.images[0], "slices")
        return case


def _article(what: str) -> str:
    return f"{'an' if what[0] in 'aeiou' else 'a'} {what}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
