"""Which ids do the classes of a table get, which may be numbers? Pure functions of names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError
from zarrfeed.spelling import few, plural
from zarrfeed_convert.labels import MAX_ID
from zarrfeed_convert.sources.instances.class_names import with_background

if TYPE_CHECKING:
    from collections.abc import Sequence

_ONLY = "foreground"
_DIGITS = 10  # of a number that is certainly no class


def class_table(found: Sequence[str], listed: str = "") -> tuple[list[int], tuple[str, ...]]:
    """Return the id of each class, and the names of ids from 1 on.

    Parameters
    ----------
    found
        Classes of a table: numbers, or names. Empty if there is only one class.
    listed
        Names that the user gives, separated by commas; empty for none.

    Raises
    ------
    SourceError
        The user's names are too few, or a class is not among them; or a number is too large.

    Examples
    --------
    Numbers are kept, so that splits agree, unless one is 0, which is the background:

    >>> class_table(["4", "1"], "pitted,inclusion,scratches,patches")
    ([4, 1], ('pitted', 'inclusion', 'scratches', 'patches'))
    >>> class_table(["0", "2"])
    ([1, 3], ('0', '1', '2'))
    >>> class_table(["sugar", "fish"])
    ([2, 1], ('fish', 'sugar'))
    """
    if not found:
        names = with_background([], listed or _ONLY, option="names")[0][1:]
        if len(names) > 1:
            raise SourceError(
                f"option names: needed one name, as the file has no classes, found {len(names)}: "
                f"{few(names)}; name the column of classes by -o class_column=…"
            )
        return [], names
    if not all(name.isdecimal() and name.isascii() for name in found):
        names, ids = with_background(sorted(found), listed, option="names")
        return [ids[name] for name in found], names[1:]
    numbers = [int(name) if len(name) < _DIGITS else MAX_ID for name in found]
    shift = 1 if 0 in numbers else 0
    highest = max(numbers) + shift
    if highest >= MAX_ID:
        raise SourceError(
            f"masks: needed classes below {MAX_ID}, found {max(found, key=len)[:20]}; is it the "
            "column of classes that -o class_column names?"
        )
    names = with_background([], listed, option="names")[0][1:] if listed else ()
    if listed and len(names) < highest:
        raise SourceError(
            f"option names: needed {plural(highest, 'name')}, up to that of class "
            f"{highest - shift}, found {len(names)}: {few(names)}"
        )
    if not names:
        names = tuple(str(number + 1 - shift) for number in range(highest))
    return [number + shift for number in numbers], names
