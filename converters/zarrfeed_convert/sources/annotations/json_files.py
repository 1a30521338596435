"""How is a JSON file of annotations read, and what is in its fields?"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

    from zarrfeed_convert.decoding.limits import Limits


def parsed_json(path: Path, limits: Limits) -> Any:
    """Parse a JSON file.

    Raises
    ------
    SourceError
        The file is damaged, or larger than a sample may be.
    """
    try:
        limits.require_readable(path)
        return json.loads(path.read_bytes())
    except OSError as error:
        raise SourceError(
            f"{path}: cannot be read: {error.strerror}; make it readable, or take it out"
        ) from error
    except (ValueError, RecursionError) as error:
        raise SourceError(
            f"{path}: needed JSON, found {str(error) or 'too many levels'}; restore the file, or "
            "take it out"
        ) from error


def value_of(entry: Any, name: str, kind: type | tuple[type, ...]) -> Any:
    """Return a value of an object, which must be of a type.

    Raises
    ------
    ValueError
        There is no such value, or it is of another type.

    Examples
    --------
    >>> value_of({"label": "car"}, "label", str)
    'car'
    """
    if not isinstance(entry, dict):
        raise ValueError(f"{str(entry)[:40]!r} instead of an object with {name!r}")
    value = entry.get(name)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{name!r}: {str(value)[:40]!r}")
    return value


def points_of(points: Any) -> list[float]:
    """Flatten a list of points [x, y] to [x1, y1, x2, y2, …].

    Raises
    ------
    ValueError
        They are no points of finite numbers.

    Examples
    --------
    >>> points_of([[1, 2], [3, 4.5]])
    [1.0, 2.0, 3.0, 4.5]
    """
    if not isinstance(points, list):
        raise ValueError(f"{str(points)[:40]!r} instead of points")
    flat: list[float] = []
    for point in points:
        if not isinstance(point, list) or len(point) < 2:
            raise ValueError(f"the point {str(point)[:40]!r}")
        for value in point[:2]:
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(f"the point {str(point)[:40]!r}")
            if not math.isfinite(value):
                raise ValueError(f"the point {str(point)[:40]!r}")
            flat.append(float(value))
    return flat


def size_of(entry: Any, height: str, width: str) -> tuple[int, int]:
    """Return the size of an image; 0 where it is not said.

    Raises
    ------
    ValueError
        A length is no positive integer.

    Examples
    --------
    >>> size_of({"h": 3, "w": 4}, "h", "w"), size_of({}, "h", "w")
    ((3, 4), (0, 0))
    """
    lengths = []
    for name in (height, width):
        value = entry.get(name) if isinstance(entry, dict) else None
        if value is None:
            return 0, 0
        value = value_of(entry, name, (int, float))
        if value != int(value) or value < 1 or value > 1 << 31:
            raise ValueError(f"{name!r}: {value!r}")
        lengths.append(int(value))
    return lengths[0], lengths[1]
