"""Which arrays make a batch, and is a transform a function?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from zarrfeed.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zarrfeed.feed.workers.batch_spec import Transform
    from zarrfeed.store.split import Split

# Names that arrays of classes go by, for a proposal.
_MASKS = re.compile(r"mask|label|seg|target|annot|class|truth|^gt|^y")


def require_callable(name: str, function: Transform | None, fields: Sequence[str]) -> None:
    """Check that a transform is a function.

    Raises
    ------
    TypeError
        It is not.
    """
    if function is not None and not callable(function):
        given = ", ".join(fields)
        raise TypeError(f"{name} must be a function ({given}, rng) -> ({given}), not {function!r}")


def chosen_fields(split: Split, fields: str | Sequence[str] | None) -> tuple[str, ...]:
    """Say which arrays make a batch, in order.

    Parameters
    ----------
    split
        That holds them.
    fields
        As the user names them; None for those that a packed split names itself, for ``image`` and
        ``mask``, or for the only one.

    Raises
    ------
    StoreError
        Nobody says which of several arrays are the images.
    ValueError
        One is named twice.
    """
    if fields is not None:
        given = (fields,) if isinstance(fields, str) else tuple(fields)
        twice = [name for name in given if given.count(name) > 1]
        if twice:
            raise ValueError(
                f"fields names {twice[0]!r} {given.count(twice[0])} times: a batch has every array "
                "once"
            )
        return given
    names = split.default_fields
    if len(names) > 1 and not split.says_fields:
        first = _proposal(split, names)
        raise StoreError(
            f"{split.path}: nothing says which of its arrays are the images and which the masks: "
            f"{', '.join(names)}. Name them in order, such as fields={first!r}"
        )
    return names


def _proposal(split: Split, names: Sequence[str]) -> tuple[str, ...]:
    """Guess an image and its mask: by their names, and by who has more axes."""
    layouts = split.layouts
    likely = sorted(
        names, key=lambda name: (bool(_MASKS.search(name.lower())), -len(layouts[name].shape))
    )
    image = likely[0]
    masks = [n for n in likely[1:] if layouts[n].shape[0] == layouts[image].shape[0]]
    masks.sort(key=lambda name: not _MASKS.search(name.lower()))
    return (image, *masks[:1])
