"""Which label belongs to which OME-Zarr image, and which samples have both?"""

from __future__ import annotations

import glob
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from zarrfeed.errors import SourceError, look_up
from zarrfeed.spelling import few
from zarrfeed.store.ome_metadata import Multiscale, ome_of
from zarrfeed.store.ome_places import affine_of
from zarrfeed_convert.sources.arrays.ome_agreement import difference_of
from zarrfeed_convert.sources.arrays.ome_classes import label_names
from zarrfeed_convert.sources.arrays.ome_levels import Level
from zarrfeed_convert.sources.arrays.ome_metadata import (
    choose_channels,
    level_of,
    multiscale_of,
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
from zarrfeed_convert.sources.volume_options import WARN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.header import Affine
    from zarrfeed_convert.sources.volume_options import Agreement

_STORE = ".zarr"


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
    elsewhere
        How far the label's pixels lie from the image's; empty if they do not.
    """

    stem: str
    image: Level
    mask: Level | None
    channels: tuple[int, ...]
    names: Mapping[int, str]
    elsewhere: str = ""

    @property
    def levels(self) -> tuple[Level, ...]:
        """The arrays that there are, the image first."""
        return (self.image,) if self.mask is None else (self.image, self.mask)

    @property
    def affine(self) -> Affine | None:
        """Where the voxels of volumes are, if the metadata says it; None for planes."""
        return affine_of(self.image.place) if self.image.spatial == "zyx" else None

    @property
    def keeps_chunks(self) -> bool:
        """Return whether decoded chunks are kept, for other samples or for other parts of one."""
        return any(level.shares_chunks or level.spatial == "zyx" for level in self.levels)

    def sample_keys(self) -> list[str]:
        """Name the samples, like ``/t000/z012``; one alone needs no name."""
        keys = [""]
        axes = self.image.axes
        for axis, count in zip(axes.counted, axes.counts, strict=True):
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
    whole: bool,
    geometry: Agreement | None,
    limits: Limits,
) -> OmeVolume:
    """Read the metadata of an image and of its label, if it has one.

    Parameters
    ----------
    stem, image, mask
        As :func:`find_pairs` lists them.
    level, channel
        The resolution, and the channels.
    whole
        Whether a sample is the whole image at a point in time, and not a plane.
    geometry
        What to do with labels whose pixels lie elsewhere; None for nothing.
    limits
        What arrays may claim.

    Raises
    ------
    SourceError
        There is no such image, label, level or channel, or their planes differ; or their pixels
        lie at other places, and `geometry` is strict.
    """
    image_ome, image_scales = _open(image)
    where = mask if _STORE in mask else _label(image, mask, limits)
    spatial = "zyx" if whole and "z" in image_scales.axes else "yx"
    pixels = _level(image, image_scales, level, limits, spatial)
    ids, names, elsewhere = None, dict[int, str](), ""
    if where:
        mask_ome, mask_scales = _open(where)
        ids = _level(where, mask_scales, level, limits, spatial)
        names = label_names(mask_ome)
        require_same_planes(pixels.axes, ids.axes, name=ids.path)
        lengths = {axis: pixels.axes.length(axis) for axis in "zyx"}
        elsewhere = difference_of(pixels.place, ids.place, lengths) if geometry else ""
        if elsewhere and geometry != WARN:
            raise SourceError(
                f"{ids.path}: {elsewhere}; if their pixels belong together all the same, use "
                "--geometry warn"
                f"{look_up('geometry')}"
            )
    if not pixels.stored:
        raise SourceError(
            f"{pixels.path}: needed an image, found an array of which no chunk is there; check "
            "that its chunks were copied with it"
        )
    channels = choose_channels(channel, pixels.axes.channel_count, image_ome, image)
    volume = OmeVolume(stem, pixels, ids, channels, names, elsewhere)
    for array, count in zip(volume.levels, (len(channels), 1), strict=False):
        packed_dtype(array.dtype, array.path)
        array.require_room(count, limits)
    limits.require_count(pixels.axes.count, pixels.path)
    return volume


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


def _level(path: str, scales: Multiscale, number: int, limits: Limits, spatial: str) -> Level:
    inside = level_of(scales, number, path)
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
    counted = "t" if "z" in spatial else "tz"
    axes = Axes.named(scales.axes, array.shape, samples=counted, spatial=spatial, channels="c")
    return Level(
        f"{path}/{inside}",
        axes,
        dtype,
        tuple(array.chunks),
        has_chunks(array),
        spatial,
        scales.places[number],
    )
