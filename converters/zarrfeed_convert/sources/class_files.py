"""Which classes does a file beside the masks name, and which mask values or colours do they have?

Only files that relate names to colours or mask values are read. A plain list of names does not say
whether it begins with the background; it is read only if the layout says that 0 is background.
"""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.limits import read_text
from zarrfeed_convert.labels import MAX_ID, Labels
from zarrfeed_convert.mask_map import MaskMap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

_IGNORED = 255
_BORDER = 0xE0E0C0  # colour of borders around objects in Pascal VOC and CVAT
_COLORS = ("name", "r", "g", "b")
_VALUES = ("pixel value", "class")
_ROW = re.compile(r"\s*(\d+)[\s,]+(\d+)[\s,]+(\d+)[\s,]+(\S.*?)\s*")
_LISTS = ("class_names.txt", "classes.txt", "labels.txt", "obj.names")
_NOT_LISTED = ("ignore", "ignored")  # labelme's __ignore__
_NO_CLASS = ("ignored", "void", "unlabeled", "unlabelled")


@dataclass(frozen=True, slots=True)
class NamedClasses:
    """The classes that a file names.

    Attributes
    ----------
    file
        Path of the file.
    labels
        Classes and ignored id.
    mask_map
        Class ids of mask values and colours.
    listed
        All names in the file, including those of ignored pixels.
    """

    file: str
    labels: Labels
    mask_map: MaskMap
    listed: tuple[str, ...] = ()


def find_classes(folders: Iterable[Path]) -> NamedClasses | None:
    """Read the first file in some folders that names classes; None if there is none.

    Such files are CVAT's ``labelmap.txt``, ``class_dict.csv``, CamVid's ``label_colors.txt``, and
    Roboflow's ``_classes.csv``.

    Raises
    ------
    SourceError
        The file is damaged. The message shows the line.
    """
    for folder in folders:
        for name, read in _READERS.items():
            path = folder / name
            if path.is_file():
                try:
                    named = read(path, _lines(path))
                except csv.Error as error:
                    raise _damaged(path, str(error)) from error
                if named is not None:
                    return named
    return None


def find_list(folder: Path) -> NamedClasses | None:
    """Read the first plain list of names in a folder whose masks have Pascal VOC's palette.

    Such files are labelme's ``class_names.txt``, ``classes.txt``, ``labels.txt`` and ``obj.names``.
    Class 0 is the background, whether or not the list begins with it.

    Returns
    -------
    NamedClasses or None
        None if there is no such file, or it has no names.

    Raises
    ------
    SourceError
        The file is damaged.
    """
    path = next((folder / name for name in _LISTS if (folder / name).is_file()), None)
    if path is None:
        return None
    names = [name for name in _lines(path) if name.strip("_").lower() not in _NOT_LISTED]
    if not names:
        return None
    if names[0].strip("_").lower() == "background":
        names = names[1:]
    colors = {"background": 0} | {name: voc_color(at) for at, name in enumerate(names, 1)}
    return _by_color(path, colors, border=True)


def classes_of_nnunet(path: Path) -> Labels | None:
    """Read the labels of a ``dataset.json`` of nnU-Net or the Medical Segmentation Decathlon.

    Returns
    -------
    Labels or None
        None if there is no such file, or its labels are regions of several values.

    Raises
    ------
    SourceError
        The file is damaged.
    """
    if not path.is_file():
        return None
    try:
        labels = json.loads(read_text(path)).get("labels")
        if not isinstance(labels, dict) or not labels:
            return None
        by_value: dict[int, str] = {}
        for key, value in labels.items():  # nnU-Net v2: name -> value; before: value -> name
            number, name = (key, value) if str(key).isdecimal() else (value, key)
            if isinstance(number, list):
                return None
            by_value[int(number)] = str(name)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise SourceError(
            f"{path}: needed labels like {{'background': 0, 'liver': 1}}, found {error}; correct "
            "the file, or move it away"
        ) from error
    ignore = next((value for value, name in by_value.items() if name == "ignore"), None)
    by_value.pop(-1 if ignore is None else ignore, None)
    return Labels(_names(path, by_value), ignore)


def _names(path: Path, by_value: Mapping[int, str]) -> tuple[str, ...]:
    """Return names by value; a value without a name is named by its number."""
    if not by_value or min(by_value) < 0 or max(by_value) > MAX_ID:
        raise _damaged(path, f"the values {sorted(by_value)[:5]}")
    return tuple(by_value.get(value, str(value)) for value in range(max(by_value) + 1))


def _lines(path: Path) -> list[str]:
    lines = map(str.strip, read_text(path).splitlines())
    return [line for line in lines if line and line[0] != "#"]


def _damaged(path: Path, found: str) -> SourceError:
    return SourceError(
        f"{path}: needed class names with colours or mask values, found {found}; correct the file, "
        "or give the class ids of mask values with --mask-map"
    )


def _labelmap(path: Path, lines: list[str]) -> NamedClasses | None:
    """Read lines ``NAME:R,G,B:PARTS:ACTIONS``; None if there are no colons."""
    if not any(":" in line for line in lines):
        return None
    colors: dict[str, int | None] = {}
    for line in lines:
        name, *rest = line.split(":")
        parts = rest[0].split(",") if rest and rest[0].strip() else []
        colors[name.strip()] = _color(path, line, parts) if parts else None
    if 0 not in colors.values():
        colors = {"background": 0, **{n: c for n, c in colors.items() if n != "background"}}
    whole = {
        name: voc_color(place) if color is None else color
        for place, (name, color) in enumerate(colors.items())
    }
    return _by_color(path, whole, border=True)


def _class_dict(path: Path, lines: list[str]) -> NamedClasses | None:
    """Read a table of name, r, g, b."""
    header, rows = _table(lines)
    if not set(_COLORS) <= set(header):
        return None
    at = [header.index(column) for column in _COLORS]
    colors = {}
    for row in rows:
        if len(row) < len(header):
            raise _damaged(path, ",".join(row))
        colors[row[at[0]]] = _color(path, ",".join(row), [row[place] for place in at[1:]])
    return _by_color(path, colors)


def _label_colors(path: Path, lines: list[str]) -> NamedClasses | None:
    """Read lines of r, g, b, name."""
    colors = {}
    for line in lines:
        found = _ROW.fullmatch(line)
        if found is None:
            raise _damaged(path, line)
        colors[found[4]] = _color(path, line, found.groups()[:3])
    return _by_color(path, colors)


def _values(path: Path, lines: list[str]) -> NamedClasses | None:
    """Read a table of mask values and names."""
    header, rows = _table(lines)
    if tuple(header) != _VALUES:
        return None
    try:
        by_value = {int(value): name for value, name in rows}
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    return NamedClasses(str(path), Labels(_names(path, by_value), None), MaskMap())


def _by_color(path: Path, colors: Mapping[str, int], *, border: bool = False) -> NamedClasses:
    ignored = {color for name, color in colors.items() if name.lower() in _NO_CLASS}
    names = [name for name in colors if name.lower() not in _NO_CLASS]
    ids = {colors[name]: number for number, name in enumerate(names)}
    if not names or "" in names or len(ids) < len(names):
        raise _damaged(path, f"{len(names)} names of {len(ids)} colours")
    if border and _BORDER not in ids:
        ignored.add(_BORDER)
    ids |= dict.fromkeys(ignored - ids.keys(), _IGNORED)
    # Values of grey masks are ids, unless the shade of grey of an id is the colour of another one.
    grey = {number * 0x010101: number for number in {*range(len(names)), *ids.values()}}
    clash = any(ids.get(shade, number) != number for shade, number in grey.items())
    values = {} if clash else {number: number for number in grey.values()}
    labels = Labels(tuple(names), _IGNORED if ignored else None)
    return NamedClasses(str(path), labels, MaskMap(values, ids), tuple(colors))


def _table(lines: list[str]) -> tuple[list[str], list[list[str]]]:
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines)]
    return [cell.lower() for cell in rows[0]] if rows else [], rows[1:]


def _color(path: Path, line: str, parts: Iterable[Any]) -> int:
    try:
        red, green, blue = (int(part) for part in parts)
        if not all(0 <= part <= 255 for part in (red, green, blue)):
            raise ValueError
    except ValueError:
        raise _damaged(path, line) from None
    return red << 16 | green << 8 | blue


def voc_color(index: int) -> int:
    """Return a colour of VOC's palette, ``0xRRGGBB``, by index.

    Bit 3k of the index is bit 7-k of red, bit 3k+1 of green, bit 3k+2 of blue.

    Examples
    --------
    >>> hex(voc_color(15)), hex(voc_color(255))
    ('0xc08080', '0xe0e0c0')
    """
    color = 0
    for channel, shift in enumerate((16, 8, 0)):
        for bit in range(3):
            color |= (index >> (3 * bit + channel) & 1) << (7 - bit) << shift
    return color


_READERS: Mapping[str, Callable[[Path, list[str]], NamedClasses | None]] = {
    "labelmap.txt": _labelmap,
    "class_dict.csv": _class_dict,
    "label_colors.txt": _label_colors,
    "_classes.csv": _values,
}
