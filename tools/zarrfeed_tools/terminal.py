"""Print text on a terminal so that names in it are shown literally.

File, class and array names may contain anything. Rich would read ``[red]`` in a name as a style and
``:x:`` as an emoji, and a terminal obeys control characters.
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
_PIPED_WIDTH = 120  # columns in files and pipes, wide enough not to fold tables


def console(*, quiet: bool = False, stderr: bool = False) -> Console:
    """Open standard output or standard error. All text for people goes through such a console.

    Parameters
    ----------
    quiet
        Whether to print nothing.
    stderr
        Whether to use standard error.
    """
    stream = sys.stderr if stderr else sys.stdout
    # File names may contain bytes that are not UTF-8.
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    out = _Console(highlight=False, emoji=False, quiet=quiet, stderr=stderr)
    if not out.is_terminal:
        out.width = _PIPED_WIDTH
    return out


def shown(text: object, *, keep: str = "") -> str:
    r"""Escape text so that a console prints it literally.

    Parameters
    ----------
    text
        A name, or a message that contains names.
    keep
        Control characters that are not escaped, such as a newline.

    Examples
    --------
    >>> shown("[red]a\x1b[31m\n")
    '\\[red]a\\x1b[31m\\n'
    """
    return escape(printable(str(text), keep=keep))


class _Console(Console):
    """A console that escapes control characters in text."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Render text, including that of Rich's own components."""
        return super().render_str(printable(text, keep=NEWLINE), **options)
