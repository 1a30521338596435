"""Which number did the user mean?"""

from __future__ import annotations

import operator
from numbers import Real
from typing import Any


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
        raise TypeError(f"{name} must be a whole number, not {value!r}") from None
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
