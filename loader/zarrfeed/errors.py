"""The errors that zarrfeed raises.

Every class also derives from a builtin exception, so that code that does not import zarrfeed can
catch it. A message says what was needed, what was found (with values), and what to change.
"""

import re
import unicodedata

_TOPIC = re.compile(r" \(look up: [a-z0-9-]+\)")


class ZarrfeedError(Exception):
    """Base class of zarrfeed's errors.

    Messages contain file names, which may contain anything. ``str(error)`` therefore escapes
    control characters. It ends with the topic to look up, also if the message was extended.
    """

    _keep = ""

    def __str__(self) -> str:
        """Return the message with control characters escaped, because a terminal obeys them."""
        # KeyError would show the message as Python's source does, in quotes.
        return topic_last(printable(Exception.__str__(self), keep=self._keep))


class StoreError(ZarrfeedError, ValueError):
    """A store is missing, unfinished, or not what was asked for."""


class MixError(StoreError):
    """Stores that are to be mixed differ."""

    _keep = "\n"  # a table


class CaseKeyError(StoreError, KeyError):
    """A split of cases has no case of this key."""


class ReadError(ZarrfeedError, OSError):
    """A chunk could not be read or decoded: the file is missing, short or damaged."""


class WorkerError(ZarrfeedError, RuntimeError):
    """A worker raised, died, or could not be started."""

    _keep = "\n\t"  # the message of a transform's exception may have several lines


class WorkerTimeout(WorkerError, TimeoutError):  # noqa: N818 - as TimeoutError is named
    """A worker did not answer in time; it may still be writing."""


class SourceError(ZarrfeedError, ValueError):
    """The input of a conversion is unpaired, unreadable, or out of range."""


def printable(text: str, *, keep: str = "") -> str:
    r"""Escape control characters and characters that change the direction of text.

    Parameters
    ----------
    text
        Any text, such as a file name.
    keep
        Control characters that are not escaped.

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
    category = unicodedata.category(letter)
    # Controls, directions, surrogates, private and unassigned; separators of lines and paragraphs.
    return category[0] == "C" or category in ("Zl", "Zp")


def look_up(topic: str) -> str:
    """Return the end of a message: the word to look for in the documentation.

    Parameters
    ----------
    topic
        A heading of the page "What to do when …" (``docs/guides/what-to-do-when.md``).

    Examples
    --------
    >>> "no such store" + look_up("no-split")
    'no such store (look up: no-split)'
    """
    return f" (look up: {topic})"


def topic_last(message: str) -> str:
    """Move the topic to the end of a message that was extended after it; keep the first of several.

    Examples
    --------
    >>> topic_last(f"a.png: too large{look_up('memory')}; 3 samples failed")
    'a.png: too large; 3 samples failed (look up: memory)'
    """
    topics = _TOPIC.findall(message)
    return without_topic(message) + topics[0] if topics else message


def without_topic(message: str) -> str:
    """Remove what :func:`look_up` has added to a message, for lists of many messages.

    Examples
    --------
    >>> without_topic("no such store (look up: no-split)")
    'no such store'
    """
    return _TOPIC.sub("", message)


def how_to_install(extra: str) -> str:
    """Return the command that installs an optional dependency. zarrfeed is not on PyPI yet.

    Examples
    --------
    >>> how_to_install("parquet")
    "pip install '.[parquet]' in a clone of zarrfeed"
    """
    return f"pip install '.[{extra}]' in a clone of zarrfeed"
