"""Which value does an option have?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError
from zarrfeed.spelling import nearest

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
        hint = f"; {meant(value, known) or 'choose one'}"
        raise SourceError(
            f"option {option}: needed one of {', '.join(known)}, found {value!r}{hint}"
        )


def meant(name: str, names: Iterable[str]) -> str:
    """Ask whether the name that is most like another one is meant; nothing where none is.

    Examples
    --------
    >>> meant("ocoo", ("coco", "voc"))
    "is 'coco' meant?"
    """
    near = nearest(name, names)
    return f"is {near!r} meant?" if near else ""


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
