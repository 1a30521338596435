"""How are TIFF stacks, ``.npy`` files and single images read as volumes of planes?"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed_convert.affines import affine_of_spacing
from zarrfeed_convert.decoding.decode import decode, measure
from zarrfeed_convert.decoding.limits import read_text, require_regular
from zarrfeed_convert.decoding.npy import read_npy_header
from zarrfeed_convert.decoding.pixels import as_image
from zarrfeed_convert.sources.cache import Cache, file_version
from zarrfeed_convert.sources.stacks.nifti_file import NOWHERE, Volume
from zarrfeed_convert.sources.stacks.tiff_pages import TiffPages
from zarrfeed_convert.sources.values import packed_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.limits import Limits

_ARRAYS = (".npy",)
_STACKS = (".tif", ".tiff")
_OPEN = 32  # stacks whose pages a process remembers
_IMAGES = ("YX", "YXS", "SYX")  # axes of TIFFs of one image: rows, columns and samples
_COLORS = (3, 4)


class PlaneFiles:
    """Reads volumes (z, y, x), and images as volumes of one plane. Picklable and thread-safe.

    Parameters
    ----------
    limits
        Limits on what files may claim.
    spacing_suffixes
        Ends of names, without extension, that the file of a volume's spacing lacks: ``a.json``
        belongs to ``a.tif`` and, if ``_0000`` is one of them, to ``a_0000.tif``.
    """

    def __init__(self, limits: Limits, spacing_suffixes: tuple[str, ...] = ()) -> None:
        self._limits, self._suffixes = limits, spacing_suffixes
        self._open: Cache[TiffPages] = Cache(_OPEN)

    def is_image(self, path: str) -> bool:
        """Return whether a file holds one image rather than a volume."""
        kind = Path(path).suffix.lower()
        if kind in _ARRAYS:
            return _mapped(path).ndim == 2
        return kind not in _STACKS or self._pages(path).letters in _IMAGES

    def measure(self, path: str) -> Volume:
        """Read a file's header.

        Raises
        ------
        SourceError
            It is no image and no volume, or the file of its spacing is damaged.
        """
        if Path(path).suffix.lower() in _ARRAYS:
            volume = _measure_array(path)
        elif self.is_image(path):
            volume = self._measure_image(path)
        else:
            volume = _measure_stack(path, self._pages(path))
        return replace(volume, planes_first=True, affine=self._affine(path))

    def read(self, volume: Volume, index: tuple[int | slice, ...]) -> NDArray[Any]:
        """Read a part of a volume into new memory.

        Parameters
        ----------
        volume
            The volume.
        index
            An index along its axes z, y and x.

        Returns
        -------
        (…) or (…, C)
            Stored values.
        """
        if Path(volume.path).suffix.lower() in _ARRAYS:
            return np.array(_mapped(volume.path).reshape(volume.shape)[index])
        if self.is_image(volume.path):
            pixels = decode(Path(volume.path), self._limits)
            values = as_image(replace(pixels, values=pixels.stored), "auto")
            return (values if volume.channels > 1 else values[..., 0])[np.newaxis][index]
        pages = self._pages(volume.path)
        if volume.shape[0] > 1:
            return pages.read(index)
        return pages.read(index[1:])[np.newaxis][index[:1]]  # stacks have no axes of length 1

    def expect(self, volumes: Sequence[Volume]) -> None:
        """Do nothing: files are mapped, or decoded page by page."""

    @property
    def memory_nbytes(self) -> int:
        """Maximum number of bytes that are kept in memory."""
        return 0

    def _measure_image(self, path: str) -> Volume:
        found = measure(Path(path), self._limits, windows=False)
        if found.palette:
            raise SourceError(
                f"{path}: needed grey or RGB pixels, found a palette; save ids as grey values"
            )
        dtype = packed_dtype(np.dtype(found.dtype), path)
        shape = (1, found.height, found.width)
        colors = found.channels in _COLORS
        return Volume(path, shape, found.channels, colors, found.dtype, dtype, NOWHERE)

    def _pages(self, path: str) -> TiffPages:
        return self._open.get(file_version(path), lambda: TiffPages(path, self._limits))

    def _affine(self, path: str) -> NDArray[np.float64]:
        """Return the affine by the spacing in the JSON beside a file; NaN without such a file.

        Axes are taken to lead where those of the patient do: the file does not say it.
        """
        stem = Path(path).stem
        own = next((stem.removesuffix(end) for end in self._suffixes if stem.endswith(end)), stem)
        beside = Path(path).with_name(f"{own}.json")
        if not beside.is_file():
            return NOWHERE
        return np.array(affine_of_spacing(_spacing(beside)))


def _measure_stack(path: str, pages: TiffPages) -> Volume:
    sizes = pages.sizes
    depth = [size for letter, size in zip(pages.letters, sizes, strict=True) if letter not in "YX"]
    long = [size for size in depth if size > 1]
    if pages.letters[-2:] != "YX" or len(long) > 1:
        raise SourceError(
            f"{path}: needed a stack of grey pages (z, y, x), found "
            f"{'×'.join(map(str, sizes))} ({pages.letters}); save each channel as a stack"
        )
    shape = (math.prod(long), sizes[-2], sizes[-1])
    dtype = np.dtype(pages.measured.dtype)
    return Volume(path, shape, 1, False, dtype.name, packed_dtype(dtype, path), NOWHERE)


def _measure_array(path: str) -> Volume:
    mapped = _mapped(path)
    if mapped.ndim not in (2, 3):
        raise SourceError(
            f"{path}: needed an array (H, W) or (D, H, W), found {mapped.ndim} axes; save each "
            "channel as a file"
        )
    depth, height, width = (1, *mapped.shape)[-3:]
    dtype = packed_dtype(mapped.dtype, path)
    return Volume(path, (depth, height, width), 1, False, mapped.dtype.name, dtype, NOWHERE)


def _mapped(path: str) -> NDArray[Any]:
    """Map an array; nothing is unpickled, and no memory is taken."""
    require_regular(Path(path))
    with Path(path).open("rb") as file:
        shape, fortran, dtype = read_npy_header(file, path)
        start = file.tell()
    packed_dtype(dtype, path)
    needed, found = start + math.prod(shape) * dtype.itemsize, Path(path).stat().st_size
    if needed > found or not math.prod(shape):
        raise SourceError(
            f"{path}: needed {needed} bytes for {'×'.join(map(str, shape))} {dtype}, found "
            f"{found}; restore the file, or take it out"
        )
    return np.memmap(path, dtype, "r", start, shape, "F" if fortran else "C")


def _spacing(path: Path) -> tuple[float, float, float]:
    """Read the spacing (z, y, x) in millimetres, as nnU-Net has it beside TIFF stacks."""
    try:
        said = json.loads(read_text(path))["spacing"]
        z, y, x = (float(size) for size in said)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SourceError(
            f'{path}: needed a spacing like {{"spacing": [3.0, 0.8, 0.8]}}, found {error!r}; '
            "correct the file"
        ) from error
    if not all(0 < size < math.inf for size in (z, y, x)):
        raise SourceError(
            f"{path}: needed three sizes above 0 as spacing, found {said}; correct the file"
        )
    return z, y, x
