"""Warn of what the user's own line does, however many calls lie between it and the warning."""

from __future__ import annotations

import sys
import warnings

# Frameworks that call zarrfeed for the user, besides zarrfeed itself.
_CALLED = frozenset(
    ["zarrfeed", "zarrfeed_convert", "zarrfeed_tools", "keras", "tf_keras", "tensorflow"]
)


def warn_user(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn, and name the line outside of zarrfeed and Keras from which all this was called.

    Parameters
    ----------
    message
        What to tell.
    category
        Class of the warning.
    """
    level, frame = 1, sys._getframe()
    while frame.f_back and _package(frame.f_globals) in _CALLED:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def _package(names: dict[str, object]) -> str:
    return str(names.get("__name__", "")).partition(".")[0]
