"""How does text get to a terminal, so that no name in it is taken for something else?

File, class and array names are somebody else's text. Rich would read ``[red]`` in one as a style
and ``:x:`` as a picture, and a terminal obeys the control characters in it.
"""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from zarrfeed.errors import printable

if TYPE_CHECKING:
    from rich.text import Text

NEWLINE = "\n"
_PIPED_WIDTH = 120  # a file has no width of its own, and a log is no place for folded tables


def console(*, quiet: bool = False, stderr: bool = False) -> Console:
    """Open standard output, or standard error, for people: the only way in which text gets there.

    Parameters
    ----------
    quiet
        Print nothing.
    stderr
        Take standard error.
    """
    stream = sys.stderr if stderr else sys.stdout
    # File names may be bytes that are no UTF-8.
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    out = _Console(highlight=False, emoji=False, quiet=quiet, stderr=stderr)
    if not out.is_terminal:
        out.width = _PIPED_WIDTH
    return out


def shown(text: object, *, keep: str = "") -> str:
    r"""Give text that stands for itself in what a console prints.

    Parameters
    ----------
    text
        A name, or a message that holds names.
    keep
        Control characters that it may have, such as a newline.

    Examples
    --------
    >>> shown("[red]a\x1b[31m\n")
    '\\[red]a\\x1b[31m\\n'
    """
    return escape(printable(str(text), keep=keep))


class _Console(Console):
    """A console that prints no control characters but its own."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Render text, whoever prints it."""
        return super().render_str(printable(text, keep=NEWLINE), **options)
