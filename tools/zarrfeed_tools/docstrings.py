"""Parse numpydoc docstrings. Pure: text in, text out."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass

# ``code``, `name` and :role:`name` of reStructuredText.
_MARKED = re.compile(r"``(?P<code>.+?)``|(?::\w+:)?`~?(?P<name>[^`]+)`", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Documented:
    """A parsed docstring.

    Attributes
    ----------
    summary
        The first paragraph.
    paragraphs
        The other paragraphs before the first section. Only indented ones keep their lines.
    parameters
        Names of parameters and their description, which several parameters may share.
    examples
        The section of examples, unchanged; empty if there is none.
    """

    summary: str
    paragraphs: tuple[str, ...]
    parameters: tuple[tuple[tuple[str, ...], str], ...]
    examples: str

    def of(self, parameter: str) -> str:
        """Return the description of a parameter; empty if there is none."""
        return next((text for names, text in self.parameters if parameter in names), "")


def read_docstring(text: str) -> Documented:
    r"""Parse a docstring.

    Examples
    --------
    >>> found = read_docstring("Do.\n\nParameters\n----------\na, b\n    Two\n    things.")
    >>> found.summary, found.parameters
    ('Do.', ((('a', 'b'), 'Two things.'),))
    >>> read_docstring("Do::\n\n    a/\n        b\n\nSo.").paragraphs
    ('    a/\n        b', 'So.')
    """
    parts = re.split(r"^(\w[\w ]*)\n-{3,}$", inspect.cleandoc(text), flags=re.MULTILINE)
    sections = {name: part.strip("\n") for name, part in zip(parts[1::2], parts[2::2], strict=True)}
    paragraphs = [_paragraph(each) for each in re.split(r"\n\s*\n", parts[0]) if each]
    return Documented(
        paragraphs[0] if paragraphs else "",
        tuple(paragraph for paragraph in paragraphs[1:] if paragraph),
        tuple(_parameters(sections.get("Parameters", ""))),
        sections.get("Examples", "").replace("  # doctest: +SKIP", ""),
    )


def plain(text: str) -> str:
    """Remove the markup of reStructuredText.

    Examples
    --------
    >>> plain("``a=b`` of :class:`~x.Y`, `color`")
    'a=b of x.Y, color'
    """
    return _MARKED.sub(lambda found: found["code"] or found["name"], text)


def _parameters(section: str) -> list[tuple[tuple[str, ...], str]]:
    """Parse names at the beginning of a line, each with the indented text that follows."""
    found = []
    for entry in re.split(r"\n(?=\S)", section):
        names, _, text = entry.partition("\n")
        if names.strip():
            listed = names.partition(":")[0].split(",")
            found.append((tuple(name.strip().lstrip("*") for name in listed), _joined(text)))
    return found


def _paragraph(lines: str) -> str:
    """Join the lines of a paragraph; those of an indented block, like a drawing, are kept."""
    if all(line.startswith(" ") for line in lines.splitlines()):
        return lines.rstrip()
    return re.sub("::$", ":", _joined(lines))


def _joined(lines: str) -> str:
    return " ".join(lines.split())
