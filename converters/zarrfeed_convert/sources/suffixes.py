"""What is to be cut from the ends of names, so that images and masks pair?

Pure: names in, keys or suffixes out.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError
from zarrfeed.spelling import few

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

_LOOKED_AT = 1000  # names of a side: as many as tell what all are like


def files_by_key(
    stems: Mapping[str, str], suffix: str, what: str, *, but_not: str = ""
) -> dict[str, str]:
    """Key the files that have a suffix: stem without it → file.

    Parameters
    ----------
    stems
        Path → stem.
    suffix
        What stems have besides the name that images and masks share.
    what
        ``images`` or ``masks``, for errors.
    but_not
        What stems must not end in, if anything.

    Raises
    ------
    SourceError
        No file has the suffix, or two have the same key.

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
                f"{what}: {files[key]} and {path} are both named {key!r}; keep one of them"
            )
        files[key] = path
    if not files:
        found = f"; one is {min(stems)}" if stems else ""
        raise SourceError(f"{what}: none of {len(stems)} files has the suffix {suffix!r}{found}")
    return files


def advise_suffixes(
    images: Collection[str], masks: Collection[str], *, image_suffix: str, mask_suffix: str
) -> str | None:
    """Say which suffixes would pair the names that have no partner.

    Parameters
    ----------
    images, masks
        Names without a partner, `image_suffix` and `mask_suffix` cut off already.

    Returns
    -------
    str or None
        None where no suffix pairs half of either side.

    Examples
    --------
    >>> advise_suffixes(["a", "b"], ["a_mask", "b_mask"], image_suffix="", mask_suffix="")
    "masks end in '_mask': add --mask-suffix _mask"
    """
    few_images, few_masks = sorted(images)[:_LOOKED_AT], sorted(masks)[:_LOOKED_AT]
    for image_end, mask_ends in _candidates(few_images, few_masks):
        parts, options = [], []
        for what, ends, given in (
            ("image", [image_end] if image_end else [], image_suffix),
            ("mask", mask_ends, mask_suffix),
        ):
            if ends:
                whole = [end + given for end in ends]
                parts.append(f"{what}s end in {few(map(repr, whole), shown=5, joint=' or ')}")
                options.append(f"--{what}-suffix {whole[0]}")
        if options:
            which = ", or another of these" if len(mask_ends) > 1 else ""
            return f"{', '.join(parts)}: add {' '.join(options)}{which}"
    return None


def _candidates(images: list[str], masks: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Give what images may end in, and what masks then end in."""
    yield "", _ends(masks, images)
    for end in _ends(images, masks)[:1]:
        yield end, []
    shared = _shared_end(images)
    if shared:
        cut = [name.removesuffix(shared) for name in images]
        ends = _ends(masks, cut)
        if ends:
            yield shared, ends


def _ends(longer: Collection[str], shorter: Collection[str]) -> list[str]:
    """List what most names of one side have after a name of the other."""
    names = set(shorter)
    counts = Counter(
        name[at:]
        for name in longer
        for at in range(name.rfind("/") + 2, len(name))
        if name[:at] in names
    )
    most = max(counts.values(), default=0)
    if not most or 2 * most < min(len(longer), len(names)):
        return []
    return sorted(end for end, count in counts.items() if count == most)


def _shared_end(names: Collection[str]) -> str:
    """Give what all names end in, from its first separator on."""
    reversed_names = [name[::-1] for name in names]
    end = os.path.commonprefix(reversed_names)[::-1]  # noqa: RUF071 (ends, not folders)
    found = re.search(r"[_\-. ].*", end.rpartition("/")[2])
    return found[0] if found else ""
