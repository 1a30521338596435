"""What becomes of workers, memory and locks in a process that was forked?

A child gets a copy of every object, but no thread, and the very sockets and shared pages of its
parent. So whoever owns such things is asked to make them the parent's alone, before anything else
runs in the child; it then starts anew.
"""

from __future__ import annotations

import os
from typing import Protocol

from zarrfeed.live_objects import Living


class Owner(Protocol):
    """Has something that a child must not go on with."""

    def before_fork(self) -> None:
        """Prepare, in the parent."""
        ...

    def after_fork(self, *, child: bool) -> None:
        """Go on in the parent, or begin anew in the child. Nothing may be waited for."""
        ...


_owners: Living[Owner] = Living()


def ask_at_forks(owner: Owner) -> None:
    """Have an object asked at every fork, as long as it lives."""
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
