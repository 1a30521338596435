"""Which files are slices, segments and label volumes, and which slices make a series?

The slices of a series are sorted by their position in the patient, which neither file names nor
instance numbers give.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from filecmp import cmp
from itertools import pairwise
from os.path import commonpath
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import SourceError, look_up
from zarrfeed_convert.sources.dicom.headers import (
    has_contours,
    is_segmentation,
    read_header,
    slices_of,
)
from zarrfeed_convert.sources.dicom.segments import segmentation_of
from zarrfeed_convert.sources.dicom.slices import Series, in_order, same_grid
from zarrfeed_convert.sources.file_discovery import list_files, without_extension
from zarrfeed_convert.sources.option_checks import NO_MASKS
from zarrfeed_convert.sources.read_errors import naming_errors, place_and_reason
from zarrfeed_convert.sources.stacks.nifti_file import EXTENSIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.sources.dicom.segments import Segmentation
    from zarrfeed_convert.sources.dicom.slices import Slice

_DICOM = (".dcm", ".dicom", ".ima")  # extensions of files that claim to be


@dataclass(slots=True)
class FoundFiles:
    """What the files hold.

    Attributes
    ----------
    series
        The series of images.
    segmentations
        The SEG objects.
    volumes
        NIfTI files → their paths below the folder, without extension.
    contours
        RTSTRUCT objects, whose outlines are not read.
    left_out
        Files that should be one of these but cannot be read, as (path, reason).
    ignored
        The number of other files.
    remarks
        As :class:`zarrfeed_convert.Source` has them.
    """

    series: list[Series] = field(default_factory=list)
    segmentations: list[Segmentation] = field(default_factory=list)
    volumes: dict[str, str] = field(default_factory=dict)
    contours: list[str] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    ignored: int = 0
    remarks: list[tuple[str, str, str]] = field(default_factory=list)


def find_files(images: str, masks: str, names_from: str, *, limits: Limits) -> FoundFiles:
    """Read the headers of all files.

    Parameters
    ----------
    images, masks
        Files, folders or globs. Images in `masks` are not packed. Segments in `images` are the
        masks if `masks` is empty; there are none if it is ``none``.
    names_from
        What names a segment.
    limits
        Limits on what headers may claim.

    Raises
    ------
    SourceError
        There is no image, or `masks` has no labels, or labels of both kinds.
    """
    image_files = mask_files = list_files(images, what="images", extensions=("",))
    is_given = masks not in ("", NO_MASKS)
    if is_given:
        mask_files = list_files(masks, what="masks", extensions=("",))
    found, slices = FoundFiles(), _Slices()
    for path in sorted({*image_files, *mask_files}):
        if path.lower().endswith(EXTENSIONS):
            if is_given and path in mask_files:
                found.volumes[path] = without_extension(mask_files[path], EXTENSIONS)
            continue
        is_mask = path in mask_files and masks != NO_MASKS
        try:
            with naming_errors(path):
                header = read_header(path, limits)
                _look(path, header, path in image_files, is_mask, names_from, found, slices)
        except SourceError as error:
            found.left_out.append(place_and_reason(error, [path]))
    below = {path: without_extension(stem, _DICOM) for path, stem in image_files.items()}
    _require(found, slices, images, masks)
    once = _once(slices.found, found)
    found.series = _series_of(once, below, slices.numbers, _root(images))
    return found


@dataclass(slots=True)
class _Slices:
    """The slices of all files, and the numbers of their series."""

    found: list[Slice] = field(default_factory=list)
    numbers: dict[str, str] = field(default_factory=dict)


def _look(
    path: str,
    header: Any,
    is_image: bool,
    is_mask: bool,
    names_from: str,
    found: FoundFiles,
    slices: _Slices,
) -> None:
    if header is None:
        if path.lower().endswith(_DICOM):
            raise SourceError(f"{path}: needed a DICOM file, found one without its preamble")
        found.ignored += 1
    elif is_segmentation(header):
        found.ignored += not is_mask
        if is_mask:
            found.segmentations.append(segmentation_of(path, header, names_from=names_from))
    elif has_contours(header):
        found.ignored += not is_mask
        if is_mask:
            found.contours.append(path)
    else:
        some = list(slices_of(path, header)) if is_image else []
        found.ignored += not some
        slices.found += some
        slices.numbers |= {one.series: str(header.get("SeriesNumber") or "") for one in some}


def _once(slices: list[Slice], found: FoundFiles) -> list[Slice]:
    """Keep the first file of every image."""
    first: dict[tuple[str, str, int], Slice] = {}
    repeated: dict[str, str] = {}
    kept = []
    for one in slices:
        before = first.setdefault((one.series, one.instance, one.frame), one)
        if before is not one and one.instance and _is_copy(one, before):
            repeated[one.path] = before.path
        else:
            kept.append(one)
    if repeated:
        found.ignored += len(repeated)
        path, taken = next(iter(repeated.items()))
        why = f"such as {path}, a copy of {taken} by its SOPInstanceUID"
        found.remarks.append(("repeated files", f"{len(repeated)} ignored", why))
    return kept


def _is_copy(one: Slice, other: Slice) -> bool:
    """Compare files of one UID: some tools give the same UID to all images."""
    if replace(one, path=other.path) != other:
        return False
    if one.plane is None or other.plane is None:
        return cmp(one.path, other.path, shallow=False)
    return same_grid(one.plane, other.plane, one.size)


def remark_same_places(found: FoundFiles) -> None:
    """Report images of one series at the same position, such as those of a time series."""
    pairs = [
        (one, other)
        for series in found.series
        for one, other in pairwise(series.slices)
        if one.instance != other.instance and one.size == other.size
        if one.plane is not None and other.plane is not None
        if same_grid(one.plane, other.plane, one.size)
    ]
    if pairs:
        one, other = (each.name for each in pairs[0])
        why = f"such as {one} and {other} of one series, which are packed; remove unwanted ones"
        count = f"{len(pairs)} slice{'s' if len(pairs) > 1 else ''}"
        found.remarks.append(("same position", count, why))


def _require(found: FoundFiles, slices: _Slices, images: str, masks: str) -> None:
    first = f"; {': '.join(found.left_out[0])}" if found.left_out else ""
    if not slices.found:
        raise SourceError(
            f"images: needed DICOM files, found no DICOM image in {images}; check --images{first}"
            f"{look_up('no-files')}"
        )
    if found.segmentations and found.volumes:
        raise SourceError(
            f"masks: needed DICOM segments or NIfTI labels, found both in {masks}, such as "
            f"{found.segmentations[0].path} and {min(found.volumes)}; choose one kind by a glob"
        )
    if found.segmentations or found.volumes:
        return
    if found.contours:
        raise SourceError(
            "masks: needed DICOM segments (SEG) or NIfTI labels, found contours (RTSTRUCT) in "
            f"{found.contours[0]}, which are not read; convert them, or pack images alone with "
            "--masks none"
        )
    if masks not in ("", NO_MASKS):
        raise SourceError(
            "masks: needed DICOM segments (SEG) or NIfTI labels, found neither in "
            f"{masks}; check --masks{first}"
        )


def _root(images: str) -> str:
    path = Path(images)
    if path.is_file():
        return without_extension(path.name, _DICOM)
    return path.resolve().name if path.is_dir() else "series"


def _series_of(
    slices: Iterable[Slice], below: Mapping[str, str], numbers: Mapping[str, str], root: str
) -> list[Series]:
    """Group slices into series, sorted by key.

    `below` maps files to their paths below the folder, without extension; `numbers` maps UIDs of
    series to their numbers; `root` is the name of the folder.
    """
    groups: dict[str, list[Slice]] = {}
    for one in slices:
        groups.setdefault(one.series or one.path, []).append(one)
    files = {uid: sorted({one.path for one in group}) for uid, group in groups.items()}
    keys = _keys(files, below, numbers, root)
    series = (
        Series(uid, keys[uid], _place(files[uid]), tuple(in_order(group)))
        for uid, group in groups.items()
    )
    return sorted(series, key=lambda one: one.key)


def _place(files: Sequence[str]) -> str:
    return files[0] if len(files) == 1 else commonpath([PurePath(file).parent for file in files])


def _keys(
    files: Mapping[str, Sequence[str]],
    below: Mapping[str, str],
    numbers: Mapping[str, str],
    root: str,
) -> dict[str, str]:
    """Name each series by its folder; if that has several, by its file, number or UID."""
    folders = {}
    for uid, paths in files.items():
        parents = [PurePath(below[path]).parent for path in paths]
        folders[uid] = PurePath(commonpath(parents) if len(parents) > 1 else parents[0])
    crowded = Counter(folders.values())
    keys: dict[str, str] = {}
    for uid, paths in files.items():
        folder, number = folders[uid], numbers.get(uid, "")
        if crowded[folder] == 1:
            name = root if folder == PurePath() else folder.as_posix()
        elif len(paths) == 1:
            name = below[paths[0]]
        else:
            name = (folder / f"series{number}").as_posix()
        keys[uid] = name
    twice = Counter(keys.values())
    return {uid: f"{name}/{uid}" if twice[name] > 1 else name for uid, name in keys.items()}
