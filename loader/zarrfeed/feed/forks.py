"""What becomes of workers, memory and locks when a process forks?

A child gets a copy of every object, but no thread, and it shares its parent's sockets and pages. So
whoever owns such things is told of every fork: it leaves them to the parent, and the child starts
anew.
"""

from __future__ import annotations

import os
from typing import Protocol

from zarrfeed.live_objects import LiveObjects


class Owner(Protocol):
    """Owns something that a child must not use."""

    def before_fork(self) -> None:
        """Prepare, in the parent."""
        ...

    def after_fork(self, *, child: bool) -> None:
        """Go on in the parent, or start anew in the child. Must not wait for anything."""
        ...


_owners: LiveObjects[Owner] = LiveObjects()


def register_at_fork(owner: Owner) -> None:
    """Tell an object of every fork, as long as it lives."""
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
