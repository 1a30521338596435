"""Which split does the name of a file or folder mean?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from zarrfeed_convert.sources.subset_names import SAME, names_of_subset

if TYPE_CHECKING:
    from collections.abc import Iterable


def names_of(split: str) -> tuple[str, ...]:
    """Return the names that mean a split, in lower case, the likeliest first.

    Examples
    --------
    >>> names_of("val"), names_of("fold-1")
    (('val', 'valid', 'validation'), ('fold-1',))
    """
    return tuple(map(str.lower, names_of_subset(split)))


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
    others = (known for names in SAME for known in names if known not in names_of(split))
    return not is_of(name, split) and any(re.search(_word(known), name.lower()) for known in others)


def chosen_by_split(paths: Iterable[str], split: str) -> list[str]:
    """Return the paths that belong to a split; those that no split's name says if none does.

    Examples
    --------
    >>> chosen_by_split(["a_train.json", "a_val.json"], "train")
    ['a_train.json']
    >>> chosen_by_split(["a.json", "a_val.json"], "train")
    ['a.json']
    """
    known = list(paths)
    own = [path for path in known if is_of(path, split)]
    return own or [path for path in known if not is_of_another(path, split)]


def is_mixed(names: Iterable[str], split: str) -> bool:
    """Return whether some names say that they belong to a split, others that they do not.

    Examples
    --------
    >>> is_mixed(["train_1.png", "val_1.png"], "train"), is_mixed(["1.png", "val.png"], "train")
    (True, False)
    """
    known = list(names)
    return any(is_of(name, split) for name in known) and any(
        is_of_another(name, split) for name in known
    )


def _word(known: str) -> str:
    return rf"(?<![a-z]){re.escape(known)}(?![a-z])"
