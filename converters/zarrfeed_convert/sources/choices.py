"""Which of its values was an option given?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable


def require_choice(option: str, value: str, choices: Iterable[str]) -> None:
    """Refuse a value that an option does not have.

    Raises
    ------
    SourceError
        It is none of the choices.

    Examples
    --------
    >>> require_choice("subset", "val", ("train", "val"))
    """
    known = tuple(choices)
    if value not in known:
        raise SourceError(
            f"option {option}: needed one of {', '.join(known)}, found {value!r}; choose one"
        )


def require_no_masks(masks: str, where: str) -> None:
    """Refuse ``--masks`` for a format whose masks lie beside its images.

    Parameters
    ----------
    masks
        What was given.
    where
        What `images` is, which holds the masks as well.

    Raises
    ------
    SourceError
        Something was given.
    """
    if masks:
        raise SourceError(
            f"masks: needed none, found {masks}; the masks are found in {where} itself, "
            "so leave --masks out"
        )
