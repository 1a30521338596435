"""What happens to workers, memory and locks when a process forks?

A child gets a copy of every object but of no thread, and it shares its parent's sockets and pages.
Objects that own such resources therefore register here. After a fork they leave the resources to
the parent and start again in the child.
"""

from __future__ import annotations

import os
from typing import Protocol

from zarrfeed.live_objects import LiveObjects


class Owner(Protocol):
    """An object with resources that a child must not use."""

    def before_fork(self) -> None:
        """Prepare for a fork, in the parent."""
        ...

    def after_fork(self, *, child: bool) -> None:
        """Go on in the parent, or give the resources up in the child. Must not block."""
        ...


_owners: LiveObjects[Owner] = LiveObjects()


def register_at_fork(owner: Owner) -> None:
    """Call an object's methods at every fork until it is garbage-collected."""
    _owners.add(owner)


def _before() -> None:
    for owner in _owners.all():
        owner.before_fork()


def _after(*, child: bool) -> None:
    for owner in _owners.all():
        owner.after_fork(child=child)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before,
        after_in_parent=lambda: _after(child=False),
        after_in_child=lambda: _after(child=True),
    )
