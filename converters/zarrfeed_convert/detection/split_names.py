"""How do datasets name their splits?"""

from __future__ import annotations

import re

_NAMES = (
    ("train", "training", "tr"),
    ("val", "valid", "validation", "dev"),
    ("test", "testing", "ts"),
)
_ALL = [name for names in _NAMES for name in names]


def names_of(split: str) -> tuple[str, ...]:
    """Return the names that mean a split, in lower case, the likeliest first.

    Examples
    --------
    >>> names_of("val"), names_of("fold-1")
    (('val', 'valid', 'validation', 'dev'), ('fold-1',))
    """
    own = split.lower()
    return next(
        ((own, *(n for n in names if n != own)) for names in _NAMES if own in names), (own,)
    )


def is_of(name: str, split: str) -> bool:
    """Return whether a name says that it belongs to a split.

    Examples
    --------
    >>> is_of("instances_train2017.json", "train"), is_of("trains.json", "train")
    (True, False)
    """
    return any(re.search(_word(known), name.lower()) for known in names_of(split))


def is_of_another(name: str, split: str) -> bool:
    """Return whether a name says that it belongs to another split.

    Examples
    --------
    >>> is_of_another("val", "train"), is_of_another("cells", "train")
    (True, False)
    """
    others = (known for known in _ALL if known not in names_of(split))
    return not is_of(name, split) and any(re.search(_word(known), name.lower()) for known in others)


def _word(known: str) -> str:
    return rf"(?<![a-z]){re.escape(known)}(?![a-z])"
