"""Functions and objects whose identity is compared between processes."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

FACTOR = 2.0


def uses_a_variable(image, rng):
    return image * FACTOR


def scaled(image, rng, factor: Any = 2.0, *, words=frozenset({"a", "b", "c", "d"})):
    return image * factor if str(rng) not in {"x", "y", "z"} else words


class Scaled:
    """Called as a transform, and has anything."""

    def __init__(self, factor: Any) -> None:
        self.factor = factor

    def __call__(self, image, rng):
        return image * self.factor


class Doubled(Scaled):
    def __call__(self, image, rng):
        return super().__call__(image, rng) * 2


class Kind(Enum):
    ONE = 1
    TWO = 2


@dataclass
class Settings:
    """A transform of several parts."""

    kind: Kind
    parts: dict[str, Any]

    def __call__(self, image, rng):
        return image


def closure(factor):
    def inner(image, rng):
        return image * factor

    return inner


@functools.lru_cache
def cached(image, rng):
    return uses_a_variable(image, rng)


CASES = {
    "function": lambda: scaled,
    "variable": lambda: uses_a_variable,
    "lambda": lambda: lambda image, rng: image + 1,
    "closure": lambda: closure(np.arange(3.0)),
    "partial": lambda: functools.partial(scaled, factor=np.float32(3)),
    "object": lambda: Scaled({"a", "b", ("c", 1)}),
    "derived": lambda: Doubled(np.random.default_rng(0)),
    "method": lambda: Scaled(2).__call__,
    "dataclass": lambda: Settings(Kind.TWO, {"a": [1, 2, np.dtype("f4")], "b": None}),
    "cached": lambda: cached,
    "library": lambda: np.clip,
    "ufunc": lambda: np.sin,
}


def _many():
    yield lambda image, rng: image
    yield lambda image, rng: -image
    yield lambda image, rng: image + 1
    yield lambda image, rng: image + 1.0
    yield lambda image, rng: (image + 1, {1: 2}.get(3))
    yield closure(1)
    yield closure(np.arange(2))
    yield closure(np.arange(2.0))
    yield closure([np.arange(2)])
    yield scaled
    yield functools.partial(scaled, factor=1)
    yield functools.partial(scaled, factor=2)
    yield functools.partial(scaled, 1)
    yield Scaled(1)
    yield Scaled(True)
    yield Scaled("1")
    yield Scaled({1})
    yield Scaled([1])
    yield Scaled((1,))
    yield Scaled({1: 2})
    yield Scaled({2: 1})
    yield Scaled([[1], 2])
    yield Scaled([1, [2]])
    yield Doubled(1)
    yield Settings(Kind.ONE, {})
    yield Settings(Kind.TWO, {})
    yield np.sin
    yield np.cos


DIFFERENT = list(_many())
