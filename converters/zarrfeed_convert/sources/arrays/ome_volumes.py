"""Which label belongs to which OME-Zarr image, and which planes have both?"""

from __future__ import annotations

import glob
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from zarrfeed.errors import SourceError
from zarrfeed.spelling import few
from zarrfeed_convert.sources.arrays.ome_metadata import (
    Multiscale,
    choose_channels,
    multiscale_of,
    ome_of,
    require_same_place,
    require_same_planes,
)
from zarrfeed_convert.sources.arrays.zarr_reading import (
    has_chunks,
    is_url,
    name_stores,
    open_node,
    quiet,
)
from zarrfeed_convert.sources.axes import Axes
from zarrfeed_convert.sources.file_discovery import fixed_part, matches_of
from zarrfeed_convert.sources.name_pairs import pair_all, unpaired
from zarrfeed_convert.sources.option_checks import NO_MASKS
from zarrfeed_convert.sources.values import packed_dtype

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zarrfeed_convert.decoding.limits import Limits

_STORE = ".zarr"
# Under which of its properties a label's class is named; the specification leaves that open.
_NAMES = ("class", "name", "class_name", "class-name", "label")
_MOST_NAMED = 255


@dataclass(frozen=True, slots=True)
class Level:
    """An image's or a label's array, in one resolution.

    Attributes
    ----------
    path
        Of the array.
    axes
        Of t, c, z, y and x; planes along t and z are samples.
    dtype, chunks
        Of the array.
    stored
        Whether any of its chunks is there.
    """

    path: str
    axes: Axes
    dtype: np.dtype[Any]
    chunks: tuple[int, ...]
    stored: bool


@dataclass(frozen=True, slots=True)
class OmeVolume:
    """An image and its label, or the image alone.

    Attributes
    ----------
    stem
        Names its samples.
    image, mask
        The arrays; the mask is None where the image has no label.
    channels
        Which of the image's are wanted.
    names
        Class names by label value; empty where the label does not say them.
    """

    stem: str
    image: Level
    mask: Level | None
    channels: tuple[int, ...]
    names: Mapping[int, str]

    @property
    def levels(self) -> tuple[Level, ...]:
        """The arrays that there are, the image first."""
        return (self.image,) if self.mask is None else (self.image, self.mask)

    @property
    def planes(self) -> tuple[int, int]:
        """Count the places along t, and along z."""
        return self.image.axes.length("t"), self.image.axes.length("z")

    @property
    def shares_chunks(self) -> bool:
        """Return whether a chunk holds a part of several planes or channels."""
        return any(
            chunk > 1 and axis not in "yx"
            for level in self.levels
            for axis, chunk in zip(level.axes.letters, level.chunks, strict=True)
        )

    def plane_keys(self) -> list[str]:
        """Name the planes, like ``/t000/z012``; one alone needs no name."""
        keys = [""]
        for axis, count in zip("tz", self.planes, strict=True):
            if count > 1:
                digits = max(3, len(str(count - 1)))
                keys = [f"{key}/{axis}{place:0{digits}}" for key in keys for place in range(count)]
        return [f"{self.stem}{key}" for key in keys]


def find_pairs(images: str, masks: str) -> list[tuple[str, str, str]]:
    """List the images, and where the label of each is to be looked for.

    Returns
    -------
    list of (stem, image, mask)
        The mask is a path of its own, the name of a label, or none.

    Raises
    ------
    SourceError
        There is no image, or images and labels do not pair.
    """
    stems, found = _list(images, "images")
    if _STORE not in masks:
        return [(stem, image, masks) for stem, image in zip(stems, found, strict=True)]
    mask_stems, mask_found = _list(masks, "masks")
    if len(found) != len(mask_found):
        lone = unpaired(stems, mask_stems) or "give those of one set"
        raise SourceError(
            f"images and masks: needed as many masks as images, found {len(found)} in {images} "
            f"and {len(mask_found)} in {masks}; {lone}"
        )
    partner = pair_all(stems, mask_stems)
    return [
        (stem, image, mask_found[place])
        for stem, image, place in zip(stems, found, partner, strict=True)
    ]


def open_volume(
    stem: str,
    image: str,
    mask: str,
    *,
    level: int,
    channel: str,
    anywhere: bool,
    limits: Limits,
) -> OmeVolume:
    """Read the metadata of an image and of its label, if it has one.

    Raises
    ------
    SourceError
        There is no such image, label, level or channel, or their planes differ; or their pixels
        lie at other places, unless they may lie anywhere.
    """
    image_ome, image_scales = _open(image)
    where = mask if _STORE in mask else _label(image, mask, limits)
    pixels = _level(image, image_scales, level, limits)
    ids, names = None, dict[int, str]()
    if where:
        mask_ome, mask_scales = _open(where)
        ids, names = _level(where, mask_scales, level, limits), label_names(mask_ome)
        require_same_planes(pixels.axes, ids.axes, name=ids.path)
        if not anywhere:
            lengths = {axis: pixels.axes.length(axis) for axis in "zyx"}
            require_same_place(
                image_scales.places[level], mask_scales.places[level], lengths, name=ids.path
            )
    if not pixels.stored:
        raise SourceError(
            f"{pixels.path}: needed an image, found an array of which no chunk is there; check "
            "that its chunks were copied with it"
        )
    channels = choose_channels(channel, pixels.axes.channel_count, image_ome, image)
    volume = OmeVolume(stem, pixels, ids, channels, names)
    for array, count in zip(volume.levels, (len(channels), 1), strict=False):
        packed_dtype(array.dtype, array.path)
        limits.require((*array.axes.size, count), array.dtype, array.path, "a plane")
    limits.require_count(pixels.axes.count, pixels.path)
    return volume


def label_names(ome: Mapping[str, Any]) -> dict[int, str]:
    """Read the class names of a label, where every one of its values has a name of its own.

    What lists the same class for several values lists instances.

    Examples
    --------
    >>> foo, bar = {"label-value": 1, "class": "foo"}, {"label-value": 2, "class": "bar"}
    >>> label_names({"image-label": {"properties": [foo, bar]}})
    {1: 'foo', 2: 'bar'}
    >>> label_names({"image-label": {"properties": [foo, {"label-value": 2, "class": "foo"}]}})
    {}
    """
    entries = ome.get("image-label", {}).get("properties") or []
    names: dict[int, str] = {}
    for entry in entries:
        name = next((entry[key] for key in _NAMES if isinstance(entry.get(key), str)), "")
        names[int(entry["label-value"])] = name
    whole = all(names.values()) and len(set(names.values())) == len(entries)
    return names if whole and all(0 <= value <= _MOST_NAMED for value in names) else {}


def _list(where: str, what: str) -> tuple[list[str], list[str]]:
    """Return stems and paths, sorted by path."""
    where = where.rstrip("/")
    if is_url(where) or not glob.has_magic(where) or Path(where).exists():
        found, base = [where], str(PurePath(where).parent)
    else:
        found, base = sorted(matches_of(where)), fixed_part(where)
        if not found:
            raise SourceError(f"{what}: nothing is at {where}; check the path")
    return name_stores(found, base), found


def _open(path: str) -> tuple[Mapping[str, Any], Multiscale]:
    """Open an image or a label."""
    group = open_node(path)
    if group is None:
        missing = "" if is_url(path) or Path(path).exists() else ": no such folder or file"
        raise SourceError(f"{path}: needed an OME-Zarr image, found no Zarr group{missing}")
    ome = ome_of(group.attrs.asdict())
    scales = multiscale_of(ome, path) if isinstance(group, zarr.Group) else None
    if scales is None:
        raise SourceError(f"{path}: needed an OME-Zarr image, found {_instead(path, group, ome)}")
    return ome, scales


def _instead(path: str, node: Any, ome: Mapping[str, Any]) -> str:
    """Return what a place holds that is no image, and where images are."""
    if not isinstance(node, zarr.Group):
        return "a plain array; --format zarr reads those"
    if "plate" in ome:
        return f"a plate; give its fields in quotes, '{path}/*/*/*'"
    if "well" in ome:
        return f"a well; give its fields in quotes, '{path}/*'"
    with quiet():
        inside = sorted(
            name for name, child in node.groups() if ome_of(child.attrs.asdict()).get("multiscales")
        )
    if inside:
        shown = few(f"{path}/{name}" for name in inside)
        return f"a group of {len(inside)} images: {shown}"
    return "a Zarr group without multiscales metadata; --format zarr reads its arrays"


def _label(image: str, name: str, limits: Limits) -> str:
    """Find the label of an image: the one of that name, or the only one; empty for none."""
    if name == NO_MASKS:
        return ""
    labels = open_node(f"{image}/labels")
    there: Sequence[str] = []
    if isinstance(labels, zarr.Group):
        listed = ome_of(labels.attrs.asdict()).get("labels")
        with quiet():
            there = listed or sorted(name for name, _ in labels.groups())
    wanted = name.strip("/")
    if wanted in there or (len(there) == 1 and not wanted):
        found = str(wanted or there[0])
        limits.require_own(found, f"{image}/labels", image)
        return f"{image}/labels/{found}"
    if not there and not wanted:
        return ""
    found = f"found {few(map(str, there))}" if there else "found none in it"
    needed = f"the label {wanted!r}" if wanted else "one label"
    advice = "" if wanted else "; say which with --masks"
    raise SourceError(f"{image}: needed {needed}, {found}{advice}")


def _level(path: str, scales: Multiscale, number: int, limits: Limits) -> Level:
    inside = scales.level(number, path)
    limits.require_own(inside, path, path)
    array = open_node(f"{path}/{inside}")
    if not isinstance(array, zarr.Array):
        raise SourceError(f"{path}: needed the array {inside} of its metadata, found none there")
    if array.ndim != len(scales.axes) or not all(array.shape):
        raise SourceError(
            f"{path}/{inside}: needed an array with the axes {scales.axes}, found {array.shape}"
        )
    dtype = np.dtype(array.dtype)
    limits.require(array.chunks, dtype, f"{path}/{inside}", "a chunk")
    axes = Axes.named(scales.axes, array.shape, samples="tz", spatial="yx", channels="c")
    return Level(f"{path}/{inside}", axes, dtype, tuple(array.chunks), has_chunks(array))
