"""Which class does an argument name, and what are the classes of a split called?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zarrfeed.errors import look_up
from zarrfeed.spelling import did_you_mean
from zarrfeed.store.class_counts import counted_classes

if TYPE_CHECKING:
    from zarrfeed.store.split import Split


def class_id(label: int | str, split: Split, ids: int, *, argument: str) -> int:
    """Return the id of a class that an argument names.

    Parameters
    ----------
    label
        Name or id of the class.
    split
        The opened split, which has the names of the classes, or has none.
    ids
        Number of ids if there are no names.
    argument
        Name of the argument for error messages.

    Raises
    ------
    ValueError
        There is no such class.
    """
    classes = split.classes
    if isinstance(label, str):
        if label in split.dropped:
            raise ValueError(
                f"{argument} names class {label!r}, which the Mix leaves out, because its classes "
                f"are {', '.join(classes)}: name all classes to keep in Mix(…, classes=…)"
                f"{look_up('mixed-classes')}"
            )
        if label not in classes:
            hint = did_you_mean(label, classes)
            raise ValueError(
                f"{argument} names class {label!r}, but the store has "
                f"{', '.join(classes) or 'no class names'}{hint and f': {hint}'}"
                f"{look_up('unknown-class')}"
            )
        return classes.index(label)
    if not 0 <= label < (len(classes) or ids):
        raise ValueError(
            f"{argument} names class {label}, the ids go from 0 to {(len(classes) or ids) - 1}"
            f"{look_up('unknown-class')}"
        )
    return int(label)


def class_names(split: Split) -> list[str | int]:
    """Return the name of each class; without names, the id.

    Raises
    ------
    StoreError
        The split has no names, and does not count the pixels of its classes.
    """
    return list(split.classes or range(counted_classes(split)))
