"""Which stack of masks belongs to which stack of images, and what are its slices called?

Pure: names in, pairs and keys out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError
from zarrfeed_convert.sources.name_pairs import pairs_of
from zarrfeed_convert.sources.suffixes import advise_suffixes, files_by_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_DIGITS = 4  # of a slice's number at least, so that most stacks of a dataset have equally many


@dataclass(frozen=True, slots=True)
class Pair:
    """A stack of images and its masks.

    Attributes
    ----------
    key
        The stem that both share.
    images
        The stack's file; several where each holds a channel.
    mask
        The masks' file.
    """

    key: str
    images: tuple[str, ...]
    mask: str


@dataclass(frozen=True, slots=True)
class Pairing:
    """What pairs, and what does not.

    Attributes
    ----------
    pairs
        Sorted by key.
    left_out
        Files without a partner, as (path, why).
    left_aside
        How many image files and mask files lack their suffix.
    """

    pairs: tuple[Pair, ...]
    left_out: tuple[tuple[str, str], ...]
    left_aside: tuple[int, int]


def pair_stacks(
    images: Mapping[str, str],
    masks: Mapping[str, str],
    *,
    image_suffixes: Sequence[str],
    mask_suffix: str,
) -> Pairing:
    """Pair files by :func:`~zarrfeed_convert.sources.name_pairs.pairs_of` of their stems.

    Parameters
    ----------
    images, masks
        Path → stem. Both may be the files of one folder: what has the mask suffix is a mask then.
    image_suffixes, mask_suffix
        What stems have besides the name that both share. Several image suffixes, such as
        ``_0000`` and ``_0001``, mean a file for each of a stack's channels.

    Raises
    ------
    SourceError
        Nothing pairs, two files have the same name, or one folder has all and no suffix is given.

    Examples
    --------
    >>> pair_stacks({"i/a.tif": "a"}, {"m/a_seg.tif": "a_seg"}, image_suffixes=[""],
    ...             mask_suffix="_seg").pairs
    (Pair(key='a', images=('i/a.tif',), mask='m/a_seg.tif'),)
    """
    shared = bool(images.keys() & masks.keys())
    if shared and image_suffixes == [""] and not mask_suffix and images.keys() == masks.keys():
        raise SourceError(
            f"images and masks: needed different files, found the same {len(images)} files, such "
            f"as {min(images)}; say how masks are told apart, like --mask-suffix _mask"
        )
    channels = [
        files_by_key(images, end, "images", but_not=mask_suffix if shared else "")
        for end in image_suffixes
    ]
    if shared and not mask_suffix:
        taken = {path for files in channels for path in files.values()}
        masks = {path: stem for path, stem in masks.items() if path not in taken}
    mask_of = files_by_key(masks, mask_suffix, "masks")
    left_out: list[tuple[str, str]] = []
    image_of = _whole(channels, image_suffixes, left_out)
    pairs = pairs_of(image_of, mask_of)
    lone_images = sorted(image_of.keys() - pairs.keys())
    lone_masks = sorted(mask_of.keys() - set(pairs.values()))
    if not pairs:
        raise SourceError(_no_pairs(lone_images, lone_masks, left_out, image_suffixes, mask_suffix))
    left_out += [(image_of[key][0], "this image has no mask") for key in lone_images]
    left_out += [(mask_of[key], "this mask has no image") for key in lone_masks]
    return Pairing(
        tuple(Pair(image, image_of[image], mask_of[mask]) for image, mask in pairs.items()),
        tuple(left_out),
        (len(images) - sum(map(len, channels)), len(masks) - len(mask_of)),
    )


def slice_keys(key: str, places: Sequence[int], count: int) -> list[str]:
    """Name slices of a stack, so that they sort.

    Parameters
    ----------
    key
        The stack.
    places
        Which slices.
    count
        How many it has in all.

    Examples
    --------
    >>> slice_keys("case", [0, 12], 155)
    ['case/0000', 'case/0012']
    """
    digits = max(_DIGITS, len(str(count - 1)))
    return [f"{key}/{place:0{digits}}" for place in places]


def _whole(
    channels: Sequence[Mapping[str, str]], suffixes: Sequence[str], left_out: list[tuple[str, str]]
) -> dict[str, tuple[str, ...]]:
    """Bring the files of a stack's channels together; stacks that lack one are left out."""
    whole: dict[str, tuple[str, ...]] = {}
    for key in sorted({key for files in channels for key in files}):
        lacking = [end for end, files in zip(suffixes, channels, strict=True) if key not in files]
        paths = tuple(files[key] for files in channels if key in files)
        if lacking:
            why = f"needed the files of all channels, found none for {lacking[0]!r}"
            left_out.append((paths[0], why))
        else:
            whole[key] = paths
    return whole


def _no_pairs(
    images: Sequence[str],
    masks: Sequence[str],
    left_out: Sequence[tuple[str, str]],
    image_suffixes: Sequence[str],
    mask_suffix: str,
) -> str:
    if not images:
        return ": ".join(left_out[0])
    advice = None
    if len(image_suffixes) == 1:
        advice = advise_suffixes(
            images, masks, image_suffix=image_suffixes[0], mask_suffix=mask_suffix
        )
    if advice is None:
        advice = "check that both are of one set"
    return (
        f"images and masks: needed files that pair by name, found {len(images)} like "
        f"{images[0]!r} and {len(masks)} like {masks[0]!r}; {advice}"
    )
