"""Which image files and mask files belong together, and what are the names of their samples?

If no masks are given, every image file is a sample by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError, look_up
from zarrfeed_convert.sources.name_pairs import advise_suffixes, pairs_of
from zarrfeed_convert.sources.read_errors import require_any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_DIGITS = 4  # minimum for numbers of slices, so that most stacks of a dataset have equally many


def files_by_key(
    stems: Mapping[str, str], suffix: str, what: str, *, but_not: str = ""
) -> dict[str, str]:
    """Return the files whose stem has a suffix, by the stem without it.

    Parameters
    ----------
    stems
        Path → stem.
    suffix
        End of stems that follows the name that images and masks share.
    what
        Name of the argument, ``images`` or ``masks``, for errors.
    but_not
        End of stems to leave out; empty to leave out none.

    Raises
    ------
    SourceError
        No file has the suffix, or two files have the same key.

    Examples
    --------
    >>> files_by_key({"m/a_seg.tif": "a_seg", "m/readme.tif": "readme"}, "_seg", "masks")
    {'a': 'm/a_seg.tif'}
    """
    files: dict[str, str] = {}
    for path, stem in stems.items():
        if not stem.endswith(suffix) or (but_not and stem.endswith(but_not)):
            continue
        key = stem.removesuffix(suffix)
        if key in files:
            raise SourceError(
                f"{what}: needed different names, found {key!r} for both {files[key]} and {path}; "
                "keep one of them"
                f"{look_up('same-name')}"
            )
        files[key] = path
    if not files:
        found = f"; one is {min(stems)}" if stems else ""
        raise SourceError(
            f"{what}: needed files with the suffix {suffix!r}, found none among {len(stems)}{found}"
        )
    return files


@dataclass(frozen=True, slots=True)
class Pair:
    """A file of images and the file of their masks, if they have any.

    Attributes
    ----------
    key
        Stem that both share.
    images
        Path of the image file; several if each of them holds a channel.
    mask
        Path of the mask file; None without masks.
    """

    key: str
    images: tuple[str, ...]
    mask: str | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """All files, the images first."""
        return self.images if self.mask is None else (*self.images, self.mask)


@dataclass(frozen=True, slots=True)
class Pairing:
    """Pairs of files, and files without a partner.

    Attributes
    ----------
    pairs
        The pairs, sorted by key.
    left_out
        Files without a partner, as (path, reason).
    left_aside
        Number of image files, and of mask files, that lack their suffix.
    partners
        Key of an image → key of its mask, if both were paired by their keys.
    """

    pairs: tuple[Pair, ...]
    left_out: tuple[tuple[str, str], ...]
    left_aside: tuple[int, int]
    partners: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Joined:
    """Samples that consist of several files, and files without partners.

    Attributes
    ----------
    files
        Key → files of a sample: its images, then one per further field; sorted by key.
    left_out
        Files without all of their partners, as (path, reason).
    partners
        Field → (key of an image → key of its file in this field).
    left_aside
        Number of image files, and of mask files, that lack their suffix.
    passed_over
        ``.npy`` files beside image files, which are no samples.
    """

    files: Mapping[str, tuple[str, ...]]
    left_out: tuple[tuple[str, str], ...]
    partners: Mapping[str, Mapping[str, str]]
    left_aside: tuple[int, int] = (0, 0)
    passed_over: tuple[str, ...] = ()


def pair_stacks(
    images: Mapping[str, str],
    masks: Mapping[str, str] | None,
    *,
    image_suffixes: Sequence[str],
    mask_suffix: str,
) -> Pairing:
    """Pair files by :func:`~zarrfeed_convert.sources.name_pairs.pairs_of` of their stems.

    Parameters
    ----------
    images, masks
        Path → stem. Both may list the files of the same folder; files with the mask suffix are then
        masks. `masks` is None for images without masks.
    image_suffixes, mask_suffix
        Ends of stems that follow the name that both share. Several image suffixes, such as
        ``_0000`` and ``_0001``, mean one file per channel of a stack.

    Raises
    ------
    SourceError
        No files pair, two files have the same name, or images and masks are the same files.

    Examples
    --------
    >>> pair_stacks({"i/a.tif": "a"}, {"m/a_seg.tif": "a_seg"}, image_suffixes=[""],
    ...             mask_suffix="_seg").pairs
    (Pair(key='a', images=('i/a.tif',), mask='m/a_seg.tif'),)
    """
    if masks is None:
        return _images_alone(images, image_suffixes)
    shared = bool(images.keys() & masks.keys())
    if shared and image_suffixes == [""] and not mask_suffix and images.keys() == masks.keys():
        raise SourceError(
            f"images and masks: needed different files, found the same {len(images)} files, such "
            f"as {min(images)}; distinguish masks by their suffix, like --mask-suffix _mask"
            f"{look_up('no-pairs')}"
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
    left_aside = len(images) - sum(map(len, channels)), len(masks) - len(mask_of)
    pairing = pair_by_key(image_of, mask_of, left_out, left_aside)
    if not pairing.pairs:
        names = sorted(image_of), sorted(mask_of)
        raise SourceError(_no_pairs(*names, left_out, image_suffixes, mask_suffix))
    return pairing


def _images_alone(images: Mapping[str, str], suffixes: Sequence[str]) -> Pairing:
    channels = [files_by_key(images, end, "images") for end in suffixes]
    left_out: list[tuple[str, str]] = []
    whole = _whole(channels, suffixes, left_out)
    pairs = tuple(Pair(key, files) for key, files in whole.items())
    require_any(pairs, left_out)
    return Pairing(pairs, tuple(left_out), (len(images) - sum(map(len, channels)), 0))


def pair_by_key(
    image_of: Mapping[str, tuple[str, ...]],
    mask_of: Mapping[str, str],
    left_out: Sequence[tuple[str, str]],
    left_aside: tuple[int, int],
) -> Pairing:
    """Pair files by their keys, and leave out files without a partner."""
    joined = join_by_key({key: files[0] for key, files in image_of.items()}, {"mask": mask_of})
    pairs = (Pair(key, image_of[key], mask) for key, (_, mask) in joined.files.items())
    return Pairing(tuple(pairs), (*left_out, *joined.left_out), left_aside, joined.partners["mask"])


def join_by_key(image_of: Mapping[str, str], sides: Mapping[str, Mapping[str, str]]) -> Joined:
    """Join the file of each image with the files of its other fields, by their keys.

    Parameters
    ----------
    image_of
        Key → file of images.
    sides
        Name of a field, for messages → (key → file).

    Examples
    --------
    >>> joined = join_by_key({"a": "i/a", "b": "i/b"}, {"mask": {"a": "m/a"}, "depth": {"a": "d"}})
    >>> joined.files, joined.left_out
    ({'a': ('i/a', 'm/a', 'd')}, (('i/b', 'this image has no mask, no depth'),))
    """
    partners = {what: pairs_of(image_of, files, what=what) for what, files in sides.items()}
    files: dict[str, tuple[str, ...]] = {}
    left_out = []
    for key in sorted(image_of):
        lacking = [what for what in sides if key not in partners[what]]
        if lacking:
            why = ", ".join(f"no {what}" for what in lacking)
            left_out.append((image_of[key], f"this image has {why}"))
        else:
            others = (sides[what][partners[what][key]] for what in sides)
            files[key] = (image_of[key], *others)
    for what, side in sides.items():
        lone = side.keys() - set(partners[what].values())
        left_out += [(side[key], f"this {what} has no image") for key in sorted(lone)]
    return Joined(files, tuple(left_out), partners)


def slice_keys(key: str, places: Sequence[int], count: int) -> list[str]:
    """Return names of a stack's slices that sort by number.

    Parameters
    ----------
    key
        Name of the stack.
    places
        Numbers of the slices.
    count
        Number of slices of the whole stack.

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
    """Collect the files of each stack's channels; leave out stacks that lack one."""
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
        [end] = image_suffixes
        advice = advise_suffixes(images, masks, image_suffix=end, mask_suffix=mask_suffix)
    advice = advice or "check that both are of the same dataset"
    return (
        f"images and masks: needed files that pair by name, found {len(images)} like "
        f"{images[0]!r} and {len(masks)} like {masks[0]!r}; {advice}{look_up('no-pairs')}"
    )
