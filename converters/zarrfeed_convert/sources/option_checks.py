"""Are the options of a source given as its format needs them?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError, look_up
from zarrfeed.spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable

NO_MASKS = "none"  # value of ``--masks`` to pack images without masks
_MASK_LIKE = re.compile("mask|label|annotation|(?<![a-z])seg", re.IGNORECASE)


def resembles_mask(name: str) -> bool:
    """Return whether the name of a column or of a file is like that of masks.

    Examples
    --------
    >>> resembles_mask("image.seg.npz"), resembles_mask("message")
    (True, False)
    """
    return _MASK_LIKE.search(name) is not None


def require_choice(option: str, value: str, choices: Iterable[str]) -> None:
    """Check that the value of an option is one of its choices.

    Raises
    ------
    SourceError
        It is not.

    Examples
    --------
    >>> require_choice("subset", "val", ("train", "val"))
    """
    known = tuple(choices)
    if value not in known:
        hint = f"; {did_you_mean(value, known, otherwise='choose one')}"
        raise SourceError(
            f"option {option}: needed one of {', '.join(known)}, found {value!r}{hint}"
            f"{look_up('format-options')}"
        )


def require_subset(subset: str, choices: Iterable[str]) -> None:
    """Check that a dataset has the subset that is asked for, or for which its split is named.

    Raises
    ------
    SourceError
        It has none of this name. The message says how another one is chosen.
    """
    known = tuple(choices)
    if subset not in known:
        hint = did_you_mean(subset, known, otherwise="choose one")
        raise SourceError(
            f"option subset: needed one of {', '.join(known)}, found {subset!r}, the name of the "
            f"split if no subset is given; {hint}, such as by -o subset={known[0]}"
            f"{look_up('format-options')}"
        )


def require_level(level: int) -> None:
    """Check that the number of a level is one.

    Raises
    ------
    SourceError
        It is negative.
    """
    if level < 0:
        raise SourceError(
            f"option level: needed 0 for the full resolution, or a higher number, found {level}"
        )


def masks_given(masks: str, **said: object) -> bool:
    """Return whether masks are given, for formats that do not find them by their images.

    Parameters
    ----------
    masks
        Value of ``--masks``; ``none`` packs images without masks.
    **said
        Values of other options for masks; empty if they are not given.

    Raises
    ------
    SourceError
        Masks are not given, but another option for masks is.

    Examples
    --------
    >>> masks_given("data/masks", mask_suffix="_m"), masks_given("none", mask_suffix="")
    (True, False)
    """
    given = [name for name, value in said.items() if value and str(value)]
    if given and masks == NO_MASKS:
        raise SourceError(
            f"option {given[0]}: needed none of it with --masks {NO_MASKS}, found "
            f"{str(said[given[0]])!r}; leave one of both out"
        )
    if given and not masks:
        raise SourceError(
            f"--masks: is needed with the option {given[0]}, found none; masks that lie among the "
            "images are found with --masks the same folder"
        )
    return masks not in ("", NO_MASKS)


def require_no_masks(masks: str, where: str) -> None:
    """Check that ``--masks`` is not given for a format whose masks are found by its images.

    Parameters
    ----------
    masks
        Value of the option.
    where
        Name of what `images` is, which contains the masks as well.

    Raises
    ------
    SourceError
        `masks` is not empty.
    """
    if masks:
        raise SourceError(
            f"masks: needed no --masks, because the masks are found in {where} itself, found "
            f"{masks!r}; leave --masks out"
        )
