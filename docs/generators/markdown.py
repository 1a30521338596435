"""How do help texts and docstrings become Markdown?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

INDEX = "index.md"

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~$^!&])")
# ``code``, `name`, :role:`name` or :role:`~package.name` of reStructuredText.
_MARKED = re.compile(r"(``.+?``|(?::[\w:]+:)?`[^`]+`)", re.DOTALL)
# --flags, -o name=value, and commands, in help texts, which have no marks.
_CODE = re.compile(
    r"(?<![\w`/-])(zarrfeed [a-z]+(?: [A-Z]+)?|-o [\w]+=[\w…]*|--?[a-z][\w-]*(?:=[A-Z]+)?)(?![\w-])"
)
_BOLD = re.compile(r"\[bold\](.+?)\[/\]")


def escaped(text: str) -> str:
    r"""Return Markdown that shows a text as it is.

    >>> escaped("a*b <c>")
    'a\\*b \\<c\\>'
    """
    return _SPECIAL.sub(r"\\\1", text)


def code(text: str) -> str:
    """Return a text as code, whatever backticks it has.

    >>> code("a"), code("a`b")
    ('`a`', '`` a`b ``')
    """
    if "`" not in text:
        return f"`{text}`"
    fence = "`" * (1 + max(map(len, re.findall("`+", text))))
    return f"{fence} {text} {fence}"


def of_help(text: str) -> str:
    r"""Return the Markdown of a help text: flags and commands become code.

    >>> of_help("Give --masks, or a*b; see zarrfeed formats NAME.")
    'Give `--masks`, or a\\*b; see `zarrfeed formats NAME`.'
    """
    parts = _CODE.split(_BOLD.sub(r"\1", text))
    return "".join(code(part) if number % 2 else escaped(part) for number, part in enumerate(parts))


def of_docstring(text: str) -> str:
    r"""Return the Markdown of a paragraph in reStructuredText.

    >>> of_docstring("``a=b`` of :class:`~x.Y`, *not* `color`")
    '`a=b` of `Y`, \\*not\\* `color`'
    """
    return "".join(
        _marked(part) if number % 2 else of_help(part)
        for number, part in enumerate(_MARKED.split(text))
    )


def _marked(part: str) -> str:
    if part.startswith("``"):
        return code(part[2:-2])
    name = part[part.index("`") + 1 : -1]
    return code(name.rpartition(".")[2] if name.startswith("~") else name)


def write_pages(folder: Path, pages: Mapping[str, str]) -> None:
    """Write generated pages, and remove those that are generated no longer.

    Pages that have not changed keep their time, so that Sphinx does not build them again.

    Parameters
    ----------
    folder
        A folder of generated pages, and of an ``index.md``, which stays.
    pages
        Text by file name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for page in folder.iterdir():
        if page.name not in pages and page.name != INDEX:
            page.unlink()
    for name, text in pages.items():
        page = folder / name
        if not page.is_file() or page.read_text("utf-8") != text:
            page.write_text(text, "utf-8")


def joined(blocks: Iterable[str]) -> str:
    """Return blocks of Markdown with empty lines between them."""
    return "\n\n".join(block.strip("\n") for block in blocks if block.strip()) + "\n"
