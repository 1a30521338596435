"""Which objects of a kind are alive? For registries of a whole process."""

from __future__ import annotations

import weakref
from typing import Generic, TypeVar

Kind = TypeVar("Kind")


class LiveObjects(Generic[Kind]):
    """A set of weak references; any thread may add an object, or list them, at any time.

    Iterating over a ``weakref.WeakSet`` fails if another thread adds to it meanwhile.
    """

    def __init__(self) -> None:
        self._references: dict[int, weakref.ref[Kind]] = {}

    def add(self, one: Kind) -> None:
        """Add an object, for as long as it lives."""
        references, key = self._references, id(one)
        references[key] = weakref.ref(one, lambda _: references.pop(key, None) and None)

    def all(self) -> list[Kind]:
        """List the objects."""
        found = [reference() for reference in list(self._references.values())]
        return [one for one in found if one is not None]
