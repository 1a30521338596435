"""Which slices make a series, in which order, and what is the series called?

Pure: slices in, series out. Slices are in the order in which they lie in the patient: neither file
names nor instance numbers say that.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from os.path import commonpath
from pathlib import PurePath
from typing import TYPE_CHECKING

from zarrfeed_convert.sources.dicom.planes import height, normal_of, same_grid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from zarrfeed_convert.sources.dicom.headers import Slice


@dataclass(frozen=True, slots=True)
class Series:
    """Slices that were taken together.

    Attributes
    ----------
    uid
        SeriesInstanceUID.
    key
        Names it: its folder, or what else tells it apart.
    place
        Its folder, or its only file.
    slices
        Sorted.
    """

    uid: str
    key: str
    place: str
    slices: tuple[Slice, ...]


def series_of(slices: Iterable[Slice], below: Mapping[str, str], numbers: Mapping[str, str],
              *, root: str) -> list[Series]:  # fmt: skip
    """Group slices into series.

    Parameters
    ----------
    slices
        Of all files.
    below
        A file's path → its path below the folder that was given, without extension.
    numbers
        A series' UID → its number.
    root
        The name of that folder.

    Returns
    -------
    list of Series
        Sorted by key.
    """
    groups: dict[str, list[Slice]] = {}
    for one in slices:
        groups.setdefault(one.series or one.path, []).append(one)
    keys = _keys({uid: _files(group) for uid, group in groups.items()}, below, numbers, root)
    return sorted(
        (
            Series(uid, keys[uid], _place(_files(group)), tuple(in_order(group)))
            for uid, group in groups.items()
        ),
        key=lambda series: series.key,
    )


def in_order(slices: Sequence[Slice]) -> list[Slice]:
    """Sort slices along their normal; by instance number, where files don't say where they lie."""
    planes = [one.plane for one in slices if one.plane is not None]
    if len(planes) < len(slices):
        return sorted(slices, key=lambda one: (one.number, one.path, one.frame))
    normal = normal_of(min(slices, key=lambda one: (one.instance, one.frame)).plane)  # type: ignore[arg-type]
    return sorted(
        slices,
        key=lambda one: (
            round(height(one.plane, normal), 3),  # type: ignore[arg-type]
            one.number,
            one.path,
            one.frame,
        ),
    )


def at_one_place(slices: Sequence[Slice]) -> list[tuple[Slice, Slice]]:
    """List neighbours of a sorted series, of different images, whose pixels lie at one place."""
    return [
        (one, other)
        for one, other in pairwise(slices)
        if one.instance != other.instance and one.size == other.size
        if one.plane is not None and other.plane is not None
        if same_grid(one.plane, other.plane, one.size)
    ]


def _files(slices: Iterable[Slice]) -> list[str]:
    return sorted({one.path for one in slices})


def _place(files: Sequence[str]) -> str:
    return files[0] if len(files) == 1 else commonpath([PurePath(file).parent for file in files])


def _keys(
    files: Mapping[str, Sequence[str]],
    below: Mapping[str, str],
    numbers: Mapping[str, str],
    root: str,
) -> dict[str, str]:
    """Name each series: by its folder; where that has several, by its file, number or UID."""
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
