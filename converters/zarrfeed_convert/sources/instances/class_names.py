"""Which ids do named classes get, beside the background? Pure functions of names."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import SourceError
from zarrfeed.spelling import did_you_mean, few

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BACKGROUND = "background"


def is_background(name: str) -> bool:
    """Return whether a class is the background; some tools write ``_background_``."""
    return name.strip(" _").lower() == BACKGROUND


def class_ids(categories: Mapping[Any, str]) -> tuple[dict[Any, int], tuple[str, ...]]:
    """Return the class id of each category, without gaps, and the names of the classes.

    Examples
    --------
    >>> class_ids({1: "person", 3: "car"})
    ({1: 1, 3: 2}, ('background', 'person', 'car'))
    """
    ids: dict[Any, int] = {}
    names = [BACKGROUND]
    count = Counter(categories.values())
    for number, name in categories.items():
        if is_background(name):
            ids[number] = 0
            continue
        ids[number] = len(names)
        # Some tools use the same name for a category and its group.
        names.append(name if name and count[name] == 1 else f"{name} ({number})".strip())
    return ids, tuple(names)


def with_background(
    found: Sequence[str], listed: str = "", *, option: str = "classes"
) -> tuple[tuple[str, ...], dict[str, int]]:
    """Return the names of classes by id, and the id of every name that was found.

    Parameters
    ----------
    found
        Names that a dataset has, in their order.
    listed
        Names that the user gives, in the order of their ids from 1 on, separated by commas; empty
        for those that were found.
    option
        Name of the option by which they are given, for errors.

    Raises
    ------
    SourceError
        A name that was found is not listed, or one is listed twice.

    Examples
    --------
    >>> with_background(["car", "road"], "road,car,tree")
    (('background', 'road', 'car', 'tree'), {'car': 2, 'road': 1})
    """
    names = [name.strip() for name in listed.split(",")] if listed else list(found)
    named = [name for name in names if not is_background(name)]
    if len(set(named)) < len(named) or "" in named:
        raise SourceError(
            f"option {option}: needed different names, separated by commas, found {listed!r}"
        )
    ids = {name: number for number, name in enumerate(named, 1)}
    unknown = [name for name in found if name not in ids and not is_background(name)]
    if unknown:
        hint = did_you_mean(unknown[0], named, otherwise="list every class that masks have")
        raise SourceError(
            f"option {option}: needed those that masks have ({few(found)}), found no "
            f"{unknown[0]!r} in {listed!r}; {hint}"
        )
    return (BACKGROUND, *named), {name: ids.get(name, 0) for name in found}
