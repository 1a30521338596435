"""Which files hold the voxels of a volume that SimpleITK reads, and can they hold them all?

SimpleITK opens whatever a header names, takes the memory that it claims, and of several formats
reads files that end early as if they did not. All of that is looked at here, before.
"""

from __future__ import annotations

import math
import os
import re
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.limits import require_regular
from zarrfeed_convert.sources.stacks.decompressed import MOST_DEFLATED
from zarrfeed_convert.sources.stacks.gzip_files import open_gzip
from zarrfeed_convert.sources.stacks.text_headers import (
    MOST,
    TextHeader,
    metaimage_header,
    nrrd_header,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from zarrfeed_convert.decoding.limits import Limits

_TODO = "restore it, or take it out"
_PIECE = 1 << 20  # bytes to decompress at a time
GIPL_HEADER = 256
_MRC_HEADER = 1024
# The line after which the voxels of a legacy VTK file follow.
_VTK_DATA = re.compile(
    rb"^(?:SCALARS[^\n]*\n+LOOKUP_TABLE|COLOR_SCALARS|VECTORS|TENSORS)[^\n]*\n", re.M | re.I
)


@dataclass(frozen=True, slots=True)
class VoxelFiles:
    """The files that hold a volume's voxels.

    Attributes
    ----------
    paths
        The files, in order.
    offset
        Where the voxels begin in the first one.
    packed, text
        Whether they are compressed, or numbers as text.
    fields
        What a text header says.
    """

    paths: tuple[str, ...]
    offset: int
    packed: bool = False
    text: bool = False
    fields: Mapping[str, str] = field(default_factory=dict)

    def require(self, shape: Sequence[int], itemsize: int, name: str) -> None:
        """Refuse files that cannot hold all voxels.

        Parameters
        ----------
        shape, itemsize
            Shape of the volume, with channels, and bytes of a value.
        name
            The file of the header, for errors.

        Raises
        ------
        SourceError
            The files are too short.
        """
        needed = math.prod(shape) * itemsize
        size = sum(os.path.getsize(path) for path in self.paths) - self.offset  # noqa: PTH202
        most = size
        if self.packed:
            most = size * MOST_DEFLATED
            self._require_packed_size(size, name)
        elif self.text:  # a digit and what separates it from the next number
            most = (size + 1) // 2 * itemsize
        if needed > most:
            found = f"{size} bytes, at most {most} decompressed," if self.packed else f"{size}"
            raise SourceError(
                f"{name}: needed {needed} bytes of voxels ({'×'.join(map(str, shape))}), found "
                f"{found} in {self.paths[0]}; the file ends early: {_TODO}"
            )

    def _require_packed_size(self, size: int, name: str) -> None:
        """Refuse a claim of compressed bytes, for which MetaImage would take memory."""
        said = self.fields.get("CompressedDataSize", "0")
        if not said.isascii() or not said.isdigit() or int(said) > size:
            raise SourceError(
                f"{name}: needed at most {size} compressed bytes, found a claim of {said!r}; "
                f"{_TODO}"
            )

    def require_inflated(self, nbytes: int, name: str) -> None:
        """Refuse a gzip file that has fewer than `nbytes` bytes, decompressed.

        Raises
        ------
        SourceError
            It ends before.
        """
        left = nbytes
        with open_gzip(self.paths[0]) as file:
            while left > 0 and (piece := file.read(min(left, _PIECE))):
                left -= len(piece)
        if left > 0:
            raise SourceError(f"{name}: it ends {left} bytes before its voxels do; {_TODO}")

    def require_numbers(self, count: int, name: str) -> None:
        """Refuse a text file that has fewer than `count` numbers after its header.

        Raises
        ------
        SourceError
            It has fewer.
        """
        found = len(Path(self.paths[0]).read_bytes()[self.offset :].split(None, count)[:count])
        if found < count:
            raise SourceError(f"{name}: needed {count} numbers, found {found}; {_TODO}")


def nrrd_files(path: str, limits: Limits) -> VoxelFiles:
    """Find the voxels of a NRRD file; see :func:`metaimage_files`."""
    return _of_header(path, nrrd_header, limits)


def metaimage_files(path: str, limits: Limits) -> VoxelFiles:
    """Find the voxels of a MetaImage file.

    Parameters
    ----------
    path
        The file of the header.
    limits
        Whether it may name files outside of its folder.

    Raises
    ------
    SourceError
        The header is damaged, or names a file that is outside or does not exist.
    """
    return _of_header(path, metaimage_header, limits)


def gipl_files(path: str, limits: Limits) -> VoxelFiles:  # noqa: ARG001 (all readers have these)
    """Find the voxels of a GIPL file."""
    if path.lower().endswith(".gz"):
        return VoxelFiles((path,), 0, packed=True)
    return VoxelFiles((path,), GIPL_HEADER)


def analyze_files(path: str, limits: Limits) -> VoxelFiles:  # noqa: ARG001 (all readers have these)
    """Find the voxels of an Analyze header: in the .img of the same name.

    Raises
    ------
    SourceError
        There is none, or the header ends early.
    """
    head, voxels = _head(path, 348), Path(path).with_suffix(".img")
    if len(head) < 348:
        raise SourceError(f"{path}: needed a header of 348 bytes, found {len(head)}; {_TODO}")
    _require_there(path, str(voxels))
    order = "<" if int.from_bytes(head[:4], "little") == 348 else ">"
    (offset,) = struct.unpack_from(f"{order}f", head, 108)
    return VoxelFiles((str(voxels),), int(offset) if 0 <= offset < MOST else 0)


def mrc_files(path: str, limits: Limits) -> VoxelFiles:  # noqa: ARG001 (all readers have these)
    """Find the voxels of an MRC file."""
    head = _head(path, _MRC_HEADER)
    order = ">" if head[212:213] == b"\x11" else "<"
    extension = struct.unpack_from(f"{order}i", head, 92)[0] if len(head) == _MRC_HEADER else 0
    return VoxelFiles((path,), _MRC_HEADER + max(0, extension))


def vtk_files(path: str, limits: Limits) -> VoxelFiles:
    """Find the voxels of a legacy VTK file of structured points.

    Raises
    ------
    SourceError
        It is no such file, or larger than a sample may be.
    """
    limits.require_readable(Path(path))
    head = _head(path, 1 << 16)
    kind = head.split(b"\n")[2:3]
    data = _VTK_DATA.search(head)
    if not head.startswith(b"# vtk") or b"STRUCTURED_POINTS" not in head.upper() or not data:
        raise SourceError(
            f"{path}: needed a legacy VTK file of STRUCTURED_POINTS with SCALARS or VECTORS, found "
            f"{head[:40]!r}; {_TODO}"
        )
    return VoxelFiles((path,), data.end(), text=kind[0].strip().upper() == b"ASCII")


def _of_header(path: str, parse: Callable[[bytes, str], TextHeader], limits: Limits) -> VoxelFiles:
    header = parse(_head(path, MOST + 1), path)
    folder = os.path.dirname(path)  # noqa: PTH120 (Path makes "." of none)
    found = []
    for name in header.data:
        limits.require_own(name, folder, path)
        file = os.path.join(folder, name)  # noqa: PTH118
        _require_there(path, file)
        found.append(file)
    return VoxelFiles(
        tuple(found) or (path,),
        0 if found else header.end,
        packed=header.packed,
        text=header.text,
        fields=header.fields,
    )


def _require_there(path: str, file: str) -> None:
    if not Path(file).exists():
        raise SourceError(
            f"{path}: needed its voxels in {file}, found no such file; put it there, or take "
            f"{Path(path).name} out"
        )
    require_regular(Path(file))


def _head(path: str, nbytes: int) -> bytes:
    require_regular(Path(path))
    with Path(path).open("rb") as file:
        return file.read(nbytes)
