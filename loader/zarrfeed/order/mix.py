"""Which stores does a user want to mix, and how much of each?"""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from decimal import Decimal
from fractions import Fraction
from numbers import Integral, Real
from typing import Any

from zarrfeed.arguments import whole
from zarrfeed.order.division import exact_share
from zarrfeed.order.user_values import set_value

# Draws of an epoch, at most, as of `sampling`.
_MOST_DRAWS = 1 << 40
_DIGITS = 400  # before or after the point of a decimal number: more than those of a float


@dataclass(frozen=True, slots=True)
class Mix:
    """Draw from several stores, a given share of the draws from each.

    Give it to :class:`ZarrSequence` in place of a path. Every batch has samples of all stores, in
    the order in which they are drawn.

    Parameters
    ----------
    stores
        ``{path: weight}``, such as ``{"a.zarr/train": 3, "b.zarr/train": 1}``: three of four draws
        are from the first store. Weights are any positive numbers; only their ratios count.
    classes
        Names of the classes by id. By default, those of the first store. Ids of the other stores'
        masks become those of classes of the same name; names that are missing here become the
        ignore id, and a warning lists them.
    per_epoch
        Number of draws per epoch, over all ranks. By default, the number of samples of all stores
        together, or of patches.

    Raises
    ------
    TypeError, ValueError
        A value has the wrong type or is out of range; the message names it.

    Notes
    -----
    Draw j (numbered over all epochs: ``epoch * per_epoch`` and following) is from the first of two
    stores of share p iff ⌊(j + 1) p⌋ > ⌊j p⌋. Of any n successive draws, ⌊n p⌋ or ⌈n p⌉ are thus
    from that store. More stores are divided into two halves in turn, and the number of draws from
    each differs from n p by less than 4.

    Each store is gone through in its own passes, one after another, whatever the epochs are: every
    pass visits each of its samples exactly once, in its own order, or draws as `sampling` or
    `patches` say. A store with a large weight thus begins its next pass sooner. The n-th draw from
    a store is found by arithmetic alone, so that a saved state is one number. Weights may be
    changed at a resume: the passes of every store go on where they were.

    Examples
    --------
    >>> Mix({"a.zarr/train": 3, "b.zarr/train": 1}).shares
    (Fraction(3, 4), Fraction(1, 4))
    """

    stores: Mapping[str | os.PathLike[str], float]
    _: KW_ONLY
    classes: Sequence[str] | None = None
    per_epoch: int | None = None

    def __post_init__(self) -> None:
        """Validate and normalise every value."""
        if not isinstance(self.stores, Mapping) or not self.stores:
            raise TypeError(
                "a Mix needs {path: weight} of at least one store, such as "
                f"Mix({{'a.zarr/train': 3, 'b.zarr/train': 1}}), not {self.stores!r}"
            )
        found: dict[str, float | Fraction] = {}
        for path, weight in self.stores.items():
            if isinstance(path, Mix):
                raise TypeError("a Mix needs paths of stores, not a Mix: name its stores here")
            if not isinstance(path, str | os.PathLike):
                raise TypeError(f"a Mix needs paths of stores, not {path!r}")
            name = os.fspath(path)
            if name in found:
                raise ValueError(f"the Mix names {name} twice: add its weights")
            found[name] = _weight(name, weight)
        set_value(self, "stores", found)
        if len(self.stores) > 1:
            _require_shares(self.stores, self.shares)
        if self.classes is not None:
            set_value(self, "classes", _class_names(self.classes))
        if self.per_epoch is not None:
            number = whole("per_epoch", self.per_epoch, at_least=1, at_most=_MOST_DRAWS)
            set_value(self, "per_epoch", number)

    def __hash__(self) -> int:
        return hash((frozenset(self.stores.items()), self.classes, self.per_epoch))

    @property
    def shares(self) -> tuple[Fraction, ...]:
        """The share of the draws that is from each store; their sum is exactly 1."""
        weights = list(self.stores.values())
        if all(isinstance(weight, int | Fraction) for weight in weights):
            parts = [Fraction(weight) for weight in weights]
        else:
            largest = max(weights)  # sums of very large weights would not be finite
            scaled = [weight / largest for weight in weights]
            total = math.fsum(scaled)
            parts = [exact_share(weight / total) for weight in scaled]
        total_part = sum(parts, Fraction(0))
        return tuple(part / total_part for part in parts)

    def at(self, paths: Iterable[str | os.PathLike[str]]) -> Mix:
        """Return the same mix of stores at other paths, one for each."""
        stores = dict(zip(paths, self.stores.values(), strict=True))
        return Mix(stores, classes=self.classes, per_epoch=self.per_epoch)


def _weight(path: str, weight: Any) -> float | Fraction:
    """Return a weight of any type of numbers."""
    if isinstance(weight, bool) or not isinstance(weight, Real | Decimal):
        raise TypeError(f"the weight of {path!r} must be a number, not {weight!r}")
    found: float | Fraction
    if isinstance(weight, Integral):
        found = operator.index(weight)
    elif isinstance(weight, Fraction):
        found = weight
    elif isinstance(weight, Decimal) and weight.is_finite() and abs(weight.adjusted()) < _DIGITS:
        found = Fraction(weight)
    else:
        found = math.nan if isinstance(weight, Decimal) and weight.is_snan() else float(weight)
    if not 0 < found < math.inf:
        raise ValueError(
            f"the weight of {path!r} must be above 0 and finite, not {weight!r}: leave "
            "out a store that is not to be drawn"
        )
    return found


def _require_shares(
    stores: Mapping[str | os.PathLike[str], float], shares: Sequence[Fraction]
) -> None:
    for path, share in zip(stores, shares, strict=True):
        if not share:
            raise ValueError(
                f"the weight of {path!r} is less than a millionth of all weights together: raise "
                "it, or leave the store out"
            )


def _class_names(classes: Sequence[str]) -> tuple[str, ...]:
    names = tuple(classes) if isinstance(classes, Iterable) else ()
    if isinstance(classes, str) or not names or not all(isinstance(n, str) and n for n in names):
        raise TypeError(f"classes must be names of classes by id, not {classes!r}")
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"classes names {name!r} {names.count(name)} times: every id has one")
    return names
