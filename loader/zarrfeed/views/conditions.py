"""Which samples have the classes that are asked for? A small language, without ``eval``.

::

    condition = part { ("and" | ",") part }
    part      = [ "not" ] "empty"
              | name comparison number [ "%" | "px" ]
    name      = a class name, in quotes if it has other characters than letters, digits, _, - and .
    comparison = ">" | ">=" | "<" | "<=" | "==" | "=" | "!="

Numbers are shares of a sample's pixels, from 0 to 1 or in %, or pixels (px). A sample is empty if
it has no pixel of any class but the background. Pure.
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.spelling import did_you_mean, few

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from zarrfeed.pictures.palette import Palette

_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    ">=": operator.ge, "<=": operator.le, "==": operator.eq, "!=": operator.ne,
    ">": operator.gt, "<": operator.lt, "=": operator.eq,
}  # fmt: skip
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<quoted>"[^"]*"|'[^']*')
      | (?P<comparison>>=|<=|==|!=|>|<|=)
      | (?P<comma>,)
      | (?P<word>[^\s<>=!,"']+)
    )""",
    re.VERBOSE,
)
_NUMBER = re.compile(r"(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+)(%|px)?")
_ROUNDING = 1e-15  # of a product of float64
_MOST = 10_000  # characters of a condition
_EXAMPLE = "such as 'lesion>0', 'lesion>=10%', 'lesion<500px', 'empty' or 'lesion>0 and organ==0'"


class ConditionError(ValueError):
    """A condition is misspelt, or names no class."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a condition.

    Attributes
    ----------
    class_id
        The class whose pixels are compared; None for those of all but the background.
    comparison
        One of ``> >= < <= == !=``.
    value
        What they are compared with.
    unit
        ``px`` if it is a number of pixels; else it is a share.
    """

    class_id: int | None
    comparison: str
    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class Condition:
    """Which samples are chosen: those for which every part holds.

    Attributes
    ----------
    parts
        The parts.
    background
        The id that does not count for ``empty``; None if all count.
    """

    parts: tuple[Part, ...]
    background: int | None

    @property
    def present(self) -> tuple[int, ...]:
        """The classes that chosen samples must have."""
        return tuple(
            part.class_id
            for part in self.parts
            if part.class_id is not None and part.comparison in (">", ">=")
        )

    def holds(self, pixels: NDArray[Any], sizes: NDArray[Any]) -> NDArray[np.bool_]:
        """Say which samples are chosen.

        Parameters
        ----------
        pixels
            (n, classes) integers: pixels of each class in each sample.
        sizes
            (n,) pixels of each sample.

        Examples
        --------
        >>> from zarrfeed.pictures.palette import Palette
        >>> lesions = parse_condition("lesion>=10%", Palette(("background", "lesion")))
        >>> lesions.holds(np.array([[90, 10], [99, 1]]), np.array([100, 100]))
        array([ True, False])
        """
        chosen = np.ones(len(pixels), np.bool_)
        kept = [id_ for id_ in range(pixels.shape[1]) if id_ != self.background]
        for part in self.parts:
            counts = (
                pixels[:, kept].sum(axis=1) if part.class_id is None else (pixels[:, part.class_id])
            )
            needed: Any = part.value if part.unit == "px" else _shares(part.value, sizes)
            chosen &= _COMPARISONS[part.comparison](counts, needed)
        return chosen


def _shares(share: float, sizes: NDArray[Any]) -> NDArray[np.float64]:
    """Return a share of each size: 7 of 100 for 7%, although 0.07 * 100 is slightly more."""
    shares = share * np.asarray(sizes, np.float64)
    whole = np.rint(shares)
    return np.where(np.abs(shares - whole) <= _ROUNDING * whole, whole, shares)


def parse_condition(text: str, palette: Palette, classes: int | None = None) -> Condition:
    """Read a condition.

    Parameters
    ----------
    text
        As the module describes.
    palette
        The classes. Those without names are named by their ids.
    classes
        Number of classes that are counted; by default those with names.

    Raises
    ------
    ConditionError
        It is misspelt; the message says where, and suggests a class.

    Examples
    --------
    >>> from zarrfeed.pictures.palette import Palette
    >>> parse_condition("lesion>0, organ==0", Palette(("background", "organ", "lesion"))).present
    (2,)
    """
    names = palette.names or tuple(str(number) for number in range(classes or 0))
    tokens = _tokens(text)
    parts, at = [_part(tokens, 0, names)], _length(tokens, 0)
    while at < len(tokens):
        kind, value = tokens[at]
        if kind != "comma" and (kind, value.lower()) != ("word", "and"):
            raise ConditionError(f"needed 'and' or a comma before {value!r:.100}, in {text!r:.200}")
        parts.append(_part(tokens, at + 1, names))
        at += 1 + _length(tokens, at + 1)
    return Condition(tuple(parts), palette.background)


def _tokens(text: str) -> list[tuple[str, str]]:
    if len(text) > _MOST or not text.strip():
        raise ConditionError(f"needed a condition {_EXAMPLE}, found {text!r:.100}")
    tokens, at, end = [], 0, len(text.rstrip())
    while at < end:
        found = _TOKEN.match(text, at)
        if found is None:
            raise ConditionError(f"can't read {text[at:]!r:.100}: write a condition {_EXAMPLE}")
        assert found.lastgroup is not None
        tokens.append((found.lastgroup, found[found.lastgroup]))
        at = found.end()
    return tokens


def _is_empty(tokens: list[tuple[str, str]], at: int) -> bool:
    """Whether the word there asks for empty samples, rather than naming a class."""
    follows = tokens[at + 1][0] if at + 1 < len(tokens) else ""
    return at < len(tokens) and tokens[at] == ("word", "empty") and follows != "comparison"


def _is_not_empty(tokens: list[tuple[str, str]], at: int) -> bool:
    return at < len(tokens) and tokens[at] == ("word", "not") and _is_empty(tokens, at + 1)


def _length(tokens: list[tuple[str, str]], at: int) -> int:
    return 1 if _is_empty(tokens, at) else 2 if _is_not_empty(tokens, at) else 3


def _part(tokens: list[tuple[str, str]], at: int, names: Sequence[str]) -> Part:
    if _is_empty(tokens, at):
        return Part(None, "==", 0, "px")
    if _is_not_empty(tokens, at):
        return Part(None, ">", 0, "px")
    three = tokens[at : at + 3]
    found = " ".join(value for _, value in three) or "nothing"
    if [kind for kind, _ in three] not in (
        ["word", "comparison", "word"],
        ["quoted", "comparison", "word"],
    ):
        raise ConditionError(f"needed a condition {_EXAMPLE}, found {found!r:.100}")
    (kind, name), (_, comparison), (_, number) = three
    name = name[1:-1] if kind == "quoted" else name
    if name not in names:
        hint = did_you_mean(name, names, otherwise=f"it has {few(names, shown=8) or 'none'}")
        raise ConditionError(f"needed the name of a class, found {name!r:.100}: {hint}")
    matched = _NUMBER.fullmatch(number)
    if matched is None:
        raise ConditionError(f"needed a number like 0, 0.1, 10% or 500px, found {number!r:.100}")
    value, unit = float(matched[1]), matched[2] or ""
    if unit == "%":
        value /= 100
    if unit != "px" and value > 1:
        raise ConditionError(
            f"needed a share of the pixels from 0 to 1, found {number!r:.100}: write {value:g}px "
            "for pixels"
        )
    return Part(names.index(name), "==" if comparison == "=" else comparison, value, unit)
