"""Which number did the user mean?"""

from __future__ import annotations

import operator
import re
from numbers import Real
from typing import Any

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgtp]?)(i?)b?\s*", re.IGNORECASE)


def whole(name: str, value: Any, *, at_least: int, at_most: int | None = None) -> int:
    """Return `value` as an ``int``.

    Raises
    ------
    TypeError, ValueError
        It is not an integer, or is below `at_least` or above `at_most`.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise TypeError(f"{name} must be a whole number, not {value!r}")
    if number < at_least:
        raise ValueError(f"{name} must be at least {at_least}, not {number}")
    if at_most is not None and number > at_most:
        raise ValueError(f"{name} must be at most {at_most:,}, not {number:,}")
    return number


def number(name: str, value: Any) -> float:
    """Return `value` as a ``float``.

    Raises
    ------
    TypeError
        It is not a real number.

    Examples
    --------
    >>> number("jitter", 1)
    1.0
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, not {value!r}")
    return float(value)


def byte_count(name: str, value: Any) -> int:
    """Return a number of bytes, given as such or as text.

    Raises
    ------
    TypeError, ValueError
        It is neither, or not above 0.

    Examples
    --------
    >>> byte_count("cache_limit", "200GiB"), byte_count("cache_limit", "1.5 TB")
    (214748364800, 1500000000000)
    """
    if not isinstance(value, str):
        return whole(name, value, at_least=1)
    found = _SIZE.fullmatch(value)
    if found is None or (found[3] and not found[2]):
        raise ValueError(f"{name} must be a size such as '200GiB' or '1.5TB', not {value!r}")
    unit = (1024 if found[3] else 1000) ** " kmgtp".index(found[2].lower() or " ")
    return whole(name, int(float(found[1]) * unit), at_least=1)
