"""Which classes do the labels of OME-Zarr images name?

Pure: metadata in, names out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zarrfeed.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Under which of its properties a label's class is named; the specification leaves that open.
_NAMES = ("class", "name", "class_name", "class-name", "label")
_MOST_NAMED = 255


def label_names(ome: Mapping[str, Any]) -> dict[int, str]:
    """Read the class names of a label, where every one of its values has a name of its own.

    What lists the same class for several values lists instances.

    Examples
    --------
    >>> foo, bar = {"label-value": 1, "class": "foo"}, {"label-value": 2, "class": "bar"}
    >>> label_names({"image-label": {"properties": [foo, bar]}})
    {1: 'foo', 2: 'bar'}
    >>> label_names({"image-label": {"properties": [foo, {"label-value": 2, "class": "foo"}]}})
    {}
    """
    entries = ome.get("image-label", {}).get("properties") or []
    names: dict[int, str] = {}
    for entry in entries:
        name = next((entry[key] for key in _NAMES if isinstance(entry.get(key), str)), "")
        names[int(entry["label-value"])] = name
    whole = all(names.values()) and len(set(names.values())) == len(entries)
    return names if whole and all(0 <= value <= _MOST_NAMED for value in names) else {}


def classes_of_names(named: Iterable[tuple[str, Mapping[int, str]]]) -> tuple[str, ...] | None:
    """Make one tuple of class names of what labels say; None where they say nothing.

    Parameters
    ----------
    named
        (label, its names by value) of all labels.

    Raises
    ------
    SourceError
        Two labels do not agree.

    Examples
    --------
    >>> classes_of_names([("a", {1: "cell"}), ("b", {3: "nucleus"})])
    ('background', 'cell', '2', 'nucleus')
    """
    value_of: dict[str, int] = {}
    name_of: dict[int, str] = {}
    for label, names in named:
        for value, name in names.items():
            if name_of.setdefault(value, name) != name or value_of.setdefault(name, value) != value:
                raise SourceError(
                    f"{label}: needed the same class names in all labels, found {value} for "
                    f"{name!r}; in others {value} is {name_of[value]!r}"
                    + (f", {name!r} is {value_of[name]}" if name in value_of else "")
                    + "; convert them by themselves, with --mask-map"
                )
    if not name_of:
        return None
    if 0 not in name_of and "background" not in value_of:
        name_of[0] = "background"
    return tuple(name_of.get(value, str(value)) for value in range(max(name_of) + 1))
