"""What can go wrong, in words a user can act on.

Every class is also a builtin, so that code which knows nothing of zarrfeed can catch it.
A message says what was needed, what was found (with values), and what to change.
"""


class ZarrfeedError(Exception):
    """Base of every error that zarrfeed raises on purpose."""


class StoreError(ZarrfeedError, ValueError):
    """A store is missing, unfinished, or not what was asked for."""


class ReadError(ZarrfeedError, OSError):
    """A chunk could not be read or decoded: the file is missing, short or damaged."""


class WorkerError(ZarrfeedError, RuntimeError):
    """A worker raised, died, or could not be started."""


class WorkerTimeout(WorkerError, TimeoutError):  # noqa: N818 - as TimeoutError is named
    """A worker did not answer in time; it may still be writing."""


class SourceError(ZarrfeedError, ValueError):
    """The input of a conversion is unpaired, unreadable, or out of range."""


def how_to_install(extra: str) -> str:
    """Word the command that installs an optional part: zarrfeed is on no package index yet.

    Examples
    --------
    >>> how_to_install("parquet")
    "pip install '.[parquet]' in a clone of zarrfeed"
    """
    return f"pip install '.[{extra}]' in a clone of zarrfeed"
