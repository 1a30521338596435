"""What can go wrong, in words a user can act on.

Every class is also a builtin, so that code which knows nothing of zarrfeed can catch it.
A message says what was needed, what was found (with values), and what to change.
"""

import unicodedata


class ZarrfeedError(Exception):
    """Base of every error that zarrfeed raises on purpose.

    Names in a message are somebody else's text: as text, an error has no control characters.
    """

    _keep = ""

    def __str__(self) -> str:
        """Give the message, its control characters escaped: terminals would obey them."""
        return printable(super().__str__(), keep=self._keep)


class StoreError(ZarrfeedError, ValueError):
    """A store is missing, unfinished, or not what was asked for."""


class ReadError(ZarrfeedError, OSError):
    """A chunk could not be read or decoded: the file is missing, short or damaged."""


class WorkerError(ZarrfeedError, RuntimeError):
    """A worker raised, died, or could not be started."""

    _keep = "\n\t"  # what a transform raises may have several lines


class WorkerTimeout(WorkerError, TimeoutError):  # noqa: N818 - as TimeoutError is named
    """A worker did not answer in time; it may still be writing."""


class SourceError(ZarrfeedError, ValueError):
    """The input of a conversion is unpaired, unreadable, or out of range."""


def printable(text: str, *, keep: str = "") -> str:
    r"""Escape what a terminal would obey, or show in another order, as Python's ``repr`` does.

    Parameters
    ----------
    text
        Any text, such as a file name.
    keep
        Characters that may stay.

    Examples
    --------
    >>> printable("a\x1b[31m\u202eb.png")
    'a\\x1b[31m\\u202eb.png'
    """
    if text.isprintable():
        return text
    return "".join(
        repr(letter)[1:-1] if _is_control(letter) and letter not in keep else letter
        for letter in text
    )


def _is_control(letter: str) -> bool:
    """Tell whether a character is a control, a direction, a line's end, half a one, or nothing."""
    category = unicodedata.category(letter)
    return category[0] == "C" or category in ("Zl", "Zp")


def how_to_install(extra: str) -> str:
    """Word the command that installs an optional part: zarrfeed is on no package index yet.

    Examples
    --------
    >>> how_to_install("parquet")
    "pip install '.[parquet]' in a clone of zarrfeed"
    """
    return f"pip install '.[{extra}]' in a clone of zarrfeed"
