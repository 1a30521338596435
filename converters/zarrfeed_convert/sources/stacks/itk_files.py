"""How does SimpleITK read a volume, or a part of it? The only module that imports it."""

from __future__ import annotations

import locale
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK

from zarrfeed.errors import SourceError
from zarrfeed_convert.sources.cache import Cache, file_version
from zarrfeed_convert.sources.file_discovery import has_extension
from zarrfeed_convert.sources.stacks.decompressed import DecompressedCopies
from zarrfeed_convert.sources.stacks.nifti_file import NOWHERE, Volume
from zarrfeed_convert.sources.stacks.voxel_files import (
    GIPL_HEADER,
    VoxelFiles,
    analyze_files,
    gipl_files,
    metaimage_files,
    mrc_files,
    nrrd_files,
    vtk_files,
)
from zarrfeed_convert.sources.values import packed_dtype

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.limits import Limits

sitk: Any = SimpleITK  # its functions have no types
sitk.ProcessObject.SetGlobalWarningDisplay(False)


@dataclass(frozen=True, slots=True)
class _Kind:
    """A format of volumes that SimpleITK reads.

    Attributes
    ----------
    reader
        Name of SimpleITK's reader. Others, which may recognize the file too, are not asked.
    files
        Finds the files of voxels.
    millimetres
        Of one unit of its spacing.
    """

    reader: str
    files: Callable[[str, Limits], VoxelFiles]
    millimetres: float = 1.0


_NRRD, _META = _Kind("NrrdImageIO", nrrd_files), _Kind("MetaImageIO", metaimage_files)
_GIPL, _MRC = _Kind("GiplImageIO", gipl_files), _Kind("MRCImageIO", mrc_files, 1e-7)
_KINDS: Mapping[str, _Kind] = {
    ".nrrd": _NRRD,
    ".nhdr": _NRRD,
    ".mha": _META,
    ".mhd": _META,
    ".gipl": _GIPL,
    ".gipl.gz": _GIPL,
    ".hdr": _Kind("NiftiImageIO", analyze_files),
    ".vtk": _Kind("VTKImageIO", vtk_files),
    ".mrc": _MRC,
    ".rec": _MRC,
}
EXTENSIONS = tuple(_KINDS)
_NUMBERS = ("UInt8", "Int8", "UInt16", "Int16", "UInt32", "Int32", "UInt64", "Int64")
_NUMPY = {name: name.lower() for name in _NUMBERS} | {"Float32": "float32", "Float64": "float64"}
_DTYPES: Mapping[int, str] = {
    getattr(sitk, f"sitk{form}{name}"): dtype
    for name, dtype in _NUMPY.items()
    for form in ("", "Vector")
}
_SPACES = ("right-anterior-superior", "left-anterior-superior", "left-posterior-superior")
_SHORT = ("ras", "las", "lps")
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


class ItkFiles:
    """Reads volumes by SimpleITK. Picklable and thread-safe.

    Of MetaImage without compression, parts are read. All else is decoded as a whole: to memory,
    where the files of one case are kept, or to copies on disk if slices are read in any order.

    Parameters
    ----------
    limits
        What files may claim, and name besides themselves.
    slices
        Whether slices are read in any order.
    """

    def __init__(self, limits: Limits, *, slices: bool) -> None:
        self._limits = limits
        self._copies = DecompressedCopies() if slices else None
        self._in_parts: set[str] = set()
        self._bound = 0
        self._decoded: Cache[NDArray[Any]] = Cache(0, _nbytes, at_least=1)

    def measure(self, path: str) -> Volume:
        """Read a file's header, and check what it claims and names.

        Raises
        ------
        SourceError
            It is no volume of numbers, or claims or names what it may not.
        """
        kind = _kind_of(path)
        files = kind.files(path, self._limits)
        reader = _reader(path, kind)
        _run(reader.ReadImageInformation, path)
        size = [int(extent) for extent in reader.GetSize()]
        if len(size) not in (2, 3):
            raise SourceError(
                f"{path}: needed a volume of 3 axes, or an image of 2, found "
                f"{'×'.join(map(str, size))}; save each of its volumes as a file"
            )
        stored = _DTYPES.get(reader.GetPixelIDValue())
        if stored is None:
            raise SourceError(
                f"{path}: needed voxels that are numbers, found {_pixels(reader)}; convert it first"
            )
        x, y, z = (*size, 1)[:3]
        channels = reader.GetNumberOfComponents()
        in_parts = kind is _META and not (files.packed or files.text) and len(files.paths) == 1
        self._require(path, (z, y, x, channels), stored, files, in_parts=in_parts)
        if in_parts:
            self._in_parts.add(path)
        return Volume(
            path,
            (z, y, x),
            channels,
            channels in (3, 4) and stored == "uint8",
            stored,
            packed_dtype(np.dtype(stored), path),
            _affine(reader, kind.millimetres) if len(size) == 3 else NOWHERE,
            planes_first=True,
            oriented=len(size) == 3 and _is_oriented(reader, kind, files.fields),
        )

    def _require(
        self, path: str, shape: Sequence[int], dtype: str, files: VoxelFiles, *, in_parts: bool
    ) -> None:
        """Refuse a volume that is too large, or whose files are too short."""
        if in_parts:
            self._limits.require((1, *shape[1:]), dtype, path, "a plane")
        else:
            self._limits.require(
                shape, dtype, path, "a volume",
                advice=", or save it as .mha without compression, of which parts are read",
            )  # fmt: skip
        itemsize, kind = np.dtype(dtype).itemsize, _kind_of(path)
        files.require(shape, itemsize, path)
        if kind is _GIPL and files.packed:
            files.require_inflated(GIPL_HEADER + math.prod(shape) * itemsize, path)
        elif kind.files is vtk_files and files.text:
            files.require_numbers(math.prod(shape), path)

    def expect(self, volumes: Sequence[Volume]) -> None:
        """Be ready to keep the decoded files of a case in memory."""
        if self._copies is not None:
            return
        nbytes = sum(_decoded_nbytes(volume) for volume in volumes
                     if volume.path not in self._in_parts)  # fmt: skip
        if nbytes > self._bound:
            self._bound = nbytes
            self._decoded = Cache(nbytes, _nbytes, at_least=1)

    @property
    def memory_nbytes(self) -> int:
        """Maximum number of decoded bytes that are kept in memory."""
        return self._bound

    def read(self, volume: Volume, index: tuple[int | slice, ...]) -> NDArray[Any]:
        """Read a part of a volume into new memory: (…) or (…, C), by an index of its three axes.

        Raises
        ------
        SourceError
            The file is damaged, or has changed since it was measured.
        """
        path = volume.path
        if path in self._in_parts:
            return _read_part(volume, index)
        if self._copies is None:
            return np.array(self._decoded.get(file_version(path), lambda: _decoded(volume))[index])
        copy = self._copies.plain(
            path,
            extension=".raw",
            nbytes=_decoded_nbytes(volume),
            write=lambda file: file.write(_decoded(volume).data),
        )
        return np.array(np.memmap(copy, volume.stored, "r", 0, _shape(volume))[index])


def _kind_of(path: str) -> _Kind:
    found = [extension for extension in _KINDS if has_extension(path, (extension,))]
    if not found:
        raise SourceError(
            f"{path}: needed a name that ends in {', '.join(_KINDS)}, found none of them; NIfTI "
            "and DICOM have formats of their own: --format nifti, --format dicom"
        )
    return _KINDS[max(found, key=len)]


def _reader(path: str, kind: _Kind) -> Any:
    reader = sitk.ImageFileReader()
    reader.SetImageIO(kind.reader)
    reader.SetFileName(path)
    return reader


def _run(action: Callable[[], Any], path: str) -> Any:
    """Run an action of SimpleITK, of whose errors the last line is for people."""
    before = locale.setlocale(locale.LC_ALL)
    try:
        return action()
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        said = lines[-1] if lines else "no reason"
        raise SourceError(
            f"{path}: cannot be read by SimpleITK ({said:.200}); restore it, or take it out"
        ) from error
    finally:
        locale.setlocale(locale.LC_ALL, before)  # VTK files leave "C", by which Python reads ASCII


def _pixels(reader: Any) -> str:
    found: str = sitk.GetPixelIDValueAsString(reader.GetPixelIDValue())
    return found


def _affine(reader: Any, millimetres: float) -> NDArray[np.float64]:
    """Return the affine from the index (z, y, x, 1) to RAS; ITK's axes lead to LPS."""
    affine = np.eye(4)
    turned = np.reshape(reader.GetDirection(), (3, 3)) * np.array(reader.GetSpacing())
    affine[:3, :3] = (_LPS_TO_RAS @ turned * millimetres)[:, ::-1]
    affine[:3, 3] = _LPS_TO_RAS @ np.array(reader.GetOrigin()) * millimetres
    return affine


def _is_oriented(reader: Any, kind: _Kind, fields: Mapping[str, str]) -> bool:
    """Tell whether a file says how the volume lies, rather than SimpleITK by default."""
    if kind is _NRRD:
        space = fields.get("space", "").lower()
        return "spacedirections" in fields and space in (*_SPACES, *_SHORT)
    if kind is _META:
        return not fields.keys().isdisjoint(["TransformMatrix", "Rotation", "Orientation"])
    codes = [key for key in ("qform_code", "sform_code") if reader.HasMetaDataKey(key)]
    return any(reader.GetMetaData(key).strip() not in ("", "0") for key in codes)


def _shape(volume: Volume) -> tuple[int, ...]:
    return (*volume.shape, volume.channels) if volume.channels > 1 else volume.shape


def _decoded_nbytes(volume: Volume) -> int:
    return math.prod(_shape(volume)) * np.dtype(volume.stored).itemsize


def _nbytes(values: NDArray[Any]) -> int:
    return values.nbytes


def _decoded(volume: Volume) -> NDArray[Any]:
    """Read a whole volume."""
    reader = _reader(volume.path, _kind_of(volume.path))
    return _checked(_run(reader.Execute, volume.path), volume, _shape(volume))


def _read_part(volume: Volume, index: tuple[int | slice, ...]) -> NDArray[Any]:
    """Read the box that an index selects, of a file of which ITK reads parts."""
    sizes = volume.shape
    starts, stops, within = [], [], list[int | slice]()
    for at, size in zip(index, sizes, strict=True):
        start, stop = (at, at + 1) if isinstance(at, int) else at.indices(size)[:2]
        starts.append(start)
        stops.append(stop)
        within.append(0 if isinstance(at, int) else slice(None))
    shape = tuple(stop - start for start, stop in zip(starts, stops, strict=True))
    reader = _reader(volume.path, _kind_of(volume.path))
    _run(reader.ReadImageInformation, volume.path)
    axes = reader.GetDimension()
    reader.SetExtractIndex(starts[::-1][:axes])
    reader.SetExtractSize(shape[::-1][:axes])
    channels = (volume.channels,) if volume.channels > 1 else ()
    box = _checked(_run(reader.Execute, volume.path), volume, (*shape, *channels))
    return box[tuple(within)]


def _checked(image: Any, volume: Volume, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return the voxels of an image, which must be what was measured."""
    found: NDArray[Any] = sitk.GetArrayFromImage(image)
    if found.dtype != volume.stored or found.size != math.prod(shape):
        raise SourceError(
            f"{volume.path}: needed {'×'.join(map(str, shape))} {volume.stored}, as its header "
            f"said, found {'×'.join(map(str, found.shape))} {found.dtype}; restore it, or take it "
            "out"
        )
    return found.reshape(shape)
