"""Which objects of a kind are alive? For registries that cover a whole process."""

from __future__ import annotations

import weakref
from typing import Generic, TypeVar

Kind = TypeVar("Kind")


class LiveObjects(Generic[Kind]):
    """A set of weak references that any thread may extend or list at any time.

    A ``weakref.WeakSet`` raises if another thread adds to it during an iteration.
    """

    def __init__(self) -> None:
        self._references: dict[int, weakref.ref[Kind]] = {}

    def add(self, one: Kind) -> None:
        """Add an object. It is removed when it is garbage-collected."""
        references, key = self._references, id(one)
        references[key] = weakref.ref(one, lambda _: references.pop(key, None) and None)

    def all(self) -> list[Kind]:
        """Return the objects that are alive."""
        found = [reference() for reference in list(self._references.values())]
        return [one for one in found if one is not None]
