"""What do notebooks show of a split or a sequence? A table and pictures, as HTML. Pure.

All colours are those of the notebook, light or dark, but those of classes. Names are escaped, and
shortened, for they may contain anything.
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zarrfeed.errors import printable
from zarrfeed.pictures.picture_files import data_uri, jpeg_bytes, png_bytes
from zarrfeed.pictures.planes import montage

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from zarrfeed.pictures.palette import Palette
    from zarrfeed.views.drawn_arrays import View

PICTURES = 4
LARGEST = 144  # extent of a picture in pixels
_PICTURE_NBYTES = 28_000  # so that a page of four pictures stays below 200 kB
_QUALITIES = (85, 70, 50, 30, 10)
_MOST_TEXT, _MOST_NAME, _MOST_CLASSES = 300, 40, 24

_LINE = "border-bottom:1px solid rgba(128,128,128,.3)"
_CELL = f"text-align:left;padding:2px 14px 2px 0;vertical-align:top;{_LINE}"


@dataclass(frozen=True, slots=True)
class NotebookPage:
    """What a notebook shows.

    Attributes
    ----------
    title
        What it is.
    facts
        (name, value) each.
    fields
        The rows of the table of fields, the heading first.
    palette
        Colours of the classes; None if there are none.
    views
        The pictures.
    problem
        Why there are no pictures; empty if there are.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    fields: Sequence[Sequence[str]]
    palette: Palette | None = None
    views: Sequence[View] = ()
    problem: str = ""

    def html(self) -> str:
        """Return the page, of at most 200 kB."""
        parts = [
            f'<div style="font-weight:600;margin-bottom:4px">{_text(self.title)}</div>',
            _table([*self.facts]),
        ]
        if len(self.fields) > 1:
            parts.append(_table(self.fields, heading=True))
        if self.palette is not None and self.palette.names:
            parts.append(_legend(self.palette))
        if self.views:
            figures = "".join(map(_figure, self.views[:PICTURES]))
            parts.append(
                f'<div style="display:flex;flex-wrap:wrap;gap:12px;margin-top:8px">{figures}</div>'
            )
        if self.problem:
            parts.append(f'<div style="margin-top:8px">⚠ {_text(self.problem)}</div>')
        return f'<div style="line-height:1.4;font-size:13px">{"".join(parts)}</div>'


def _text(text: str, most: int = _MOST_TEXT) -> str:
    text = printable(text)
    if len(text) > most:
        text = f"{text[: most // 2]}…{text[-most // 2 :]}"
    return html.escape(text, quote=True)


def _table(rows: Sequence[Sequence[str]], *, heading: bool = False) -> str:
    written = []
    for number, row in enumerate(rows):
        first = heading and number == 0
        cells = "".join(
            f'<th scope="{"col" if first else "row"}" style="{_CELL};font-weight:600;opacity:.75">'
            f"{_text(cell)}</th>"
            if first or (place == 0 and not heading)
            else f'<td style="{_CELL}">{_text(cell)}</td>'
            for place, cell in enumerate(row)
        )
        written.append(f"<tr>{cells}</tr>")
    style = "border-collapse:collapse;margin:4px 0;background:transparent;border:0"
    return f'<table style="{style}"><tbody>{"".join(written)}</tbody></table>'


def _legend(palette: Palette) -> str:
    entries = palette.legend()
    if len(entries) > _MOST_CLASSES:
        entries = entries[:_MOST_CLASSES]
    swatch = "display:inline-block;width:.8em;height:.8em;border-radius:2px;margin-right:5px"
    edge = "border:1px solid rgba(128,128,128,.6)"
    spans = "".join(
        f'<span style="margin-right:12px;white-space:nowrap">'
        f'<span style="{swatch};{edge};background:rgb({red},{green},{blue})"></span>'
        f"{_text(name, _MOST_NAME)}</span>"
        for name, (red, green, blue) in entries
    )
    more = len(palette.legend()) - len(entries)
    rest = f"<span>and {more:,} more</span>" if more else ""
    return f'<div style="margin-top:6px">{spans}{rest}</div>'


def _figure(view: View) -> str:
    uri = data_uri(_encoded(_one_picture(view)))
    caption = f"{_text(view.title, 2 * _MOST_NAME)}"
    about = _text(view.caption, 2 * _MOST_NAME)
    return (
        '<figure style="margin:0;max-width:320px;overflow-wrap:anywhere">'
        f'<img src="{uri}" alt="{caption}" style="display:block;max-width:100%"/>'
        f'<figcaption style="font-size:11px">{caption}'
        f'<br/><span style="opacity:.7">{about}</span></figcaption></figure>'
    )


def _one_picture(view: View) -> NDArray[np.uint8]:
    """Lay the planes beside each other, above those with masks; an image beside its own."""
    pictures = [panel.picture for panel in view.panels]
    overlays = [panel.overlay for panel in view.panels if panel.overlay is not None]
    if len(pictures) == 1:
        return montage([*pictures, *overlays], columns=2, fill=128)
    return montage([*pictures, *overlays], columns=3)  # what is around volumes is mostly black


def _encoded(picture: NDArray[np.uint8]) -> bytes:
    """Encode a picture in few bytes, without loss if it fits."""
    encoded = png_bytes(picture)
    for quality in _QUALITIES:
        if len(encoded) <= _PICTURE_NBYTES:
            break
        encoded = jpeg_bytes(picture, quality=quality)
    return encoded
