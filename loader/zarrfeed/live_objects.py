"""Which objects of a kind are alive? For what a whole process has only once."""

from __future__ import annotations

import weakref
from typing import Generic, TypeVar

Kind = TypeVar("Kind")


class Living(Generic[Kind]):
    """Objects that are alive; any thread may add one, or look, at any moment.

    Unlike a ``weakref.WeakSet``, whose iteration fails where another thread adds one.
    """

    def __init__(self) -> None:
        self._references: dict[int, weakref.ref[Kind]] = {}

    def add(self, one: Kind) -> None:
        """Have an object among them as long as it lives."""
        references, key = self._references, id(one)
        references[key] = weakref.ref(one, lambda _: references.pop(key, None) and None)

    def all(self) -> list[Kind]:
        """List them."""
        found = [reference() for reference in list(self._references.values())]
        return [one for one in found if one is not None]
