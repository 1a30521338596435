"""Draw a sheet of many pictures with titles, boxes and a legend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw, ImageFont

from zarrfeed.errors import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from zarrfeed.views.drawn_arrays import Panel, View

    Color = tuple[int, ...]
    Legend = Sequence[tuple[str, Color]]
    # (begin, end) along each spatial axis, in pixels of the case
    Boxes = Sequence[Sequence[tuple[int, int]]]

_WIDTH = 1360  # of the sheet, unless one picture is wider
_MARGIN, _GAP, _PAD = 24, 20, 4
_PAPER, _INK, _FAINT, _LINE = "#ffffff", "#1b1f24", "#6b7280", "#e5e7eb"
_TILE_COLOR, _PATCH_COLOR = (255, 255, 255, 130), (255, 214, 10, 200)
_SMALL = 200  # pictures with a smaller extent are enlarged, to at most this
_SMALL_PLANE, _SMALL_SLICE = 240, 160
_LEAST_CELL = 220  # narrower titles would say nothing
_NARROWEST_TILE = 5  # pixels of the sheet, below which a grid of tiles would hide the picture


@dataclass(frozen=True, slots=True)
class Shown:
    """A view with what is drawn over it.

    Attributes
    ----------
    view
        The pictures.
    tiles, patches
        Boxes that are drawn over them.
    note
        A second line of the title.
    """

    view: View
    tiles: Boxes = ()
    patches: Boxes = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """What is shown of one split.

    Attributes
    ----------
    title, subtitle
        Its name, and what is shown.
    shown
        The samples, cases or patches.
    legend
        Names and colours of the classes.
    """

    title: str
    subtitle: str
    shown: Sequence[Shown]
    legend: Legend


def draw_sheet(sections: Sequence[Section]) -> Image.Image:
    """Draw sections below each other.

    Parameters
    ----------
    sections
        At least one.
    """
    drawn = [part for section in sections for part in _section(section)]
    return _framed(_stacked(drawn, gap=_GAP))


def _section(section: Section) -> list[Image.Image]:
    cells = [_cell(shown) for shown in section.shown]
    width = max(_WIDTH - 2 * _MARGIN, *(cell.width for cell in cells))
    head = [_text(section.title, 22, _INK, width), _text(section.subtitle, 14, _FAINT, width)]
    if section.legend:
        head.append(_legend(section.legend, width))
    column = max(cell.width for cell in cells) + _GAP
    columns = max(1, (width + _GAP) // column)
    rows = [
        _beside(cells[start : start + columns], gap=_GAP, column=column - _GAP)
        for start in range(0, len(cells), columns)
    ]
    rule = Image.new("RGB", (width, 1), _LINE)
    return [_stacked([*head, rule], gap=8), *rows, Image.new("RGB", (1, _GAP // 2), _PAPER)]


def _cell(shown: Shown) -> Image.Image:
    """Draw a title above the pictures of a sample."""
    view, drawn = shown.view, _Boxes(shown.tiles, shown.patches, shown.view.size)
    zoom = _zoom(view.panels, _SMALL if len(view.panels) == 1 else _SMALL_PLANE)
    pictures = [drawn.picture(panel, zoom) for panel in view.panels]
    overlays = [drawn.overlay(panel, zoom) for panel in view.panels if panel.overlay is not None]
    if len(pictures) == 1:
        body = _beside([*pictures, *overlays], gap=_PAD)
    else:
        titles = [panel.plane.title if panel.plane else "" for panel in view.panels]
        labelled = [
            _stacked([_text(title, 12, _FAINT, max(60, picture.width)), picture], gap=2)
            for title, picture in zip(titles, pictures, strict=True)
        ]
        body = _beside([*labelled, *overlays], gap=_PAD, bottom=True)
        if view.slices:
            body = _stacked([body, _montage(view.slices, body.width)], gap=_PAD)
    width = max(body.width, _LEAST_CELL)
    lines = [_text(view.title, 14, _INK, width), _text(view.caption, 12, _FAINT, width)]
    if shown.note:
        lines.append(_text(shown.note, 12, _FAINT, width))
    return _stacked([_stacked(lines, gap=1), body], gap=5)


def _montage(slices: Sequence[Panel], width: int) -> Image.Image:
    """Lay slices beside each other, with their places in the corners."""
    zoom = _zoom(slices, _SMALL_SLICE)
    drawn = []
    for panel in slices:
        picture = panel.picture if panel.overlay is None else panel.overlay
        slice_ = _enlarged(picture, zoom)
        pen = ImageDraw.Draw(slice_)
        place = str(panel.plane.place) if panel.plane else ""
        pen.text((3, 1), place, fill="white", font=_font(11), stroke_width=1, stroke_fill="black")
        drawn.append(slice_)
    columns = max(1, (width + _PAD) // (drawn[0].width + _PAD))
    columns = -(-len(drawn) // -(-len(drawn) // columns))  # equally many in every row
    rows = [
        _beside(drawn[start : start + columns], gap=_PAD) for start in range(0, len(drawn), columns)
    ]
    return _stacked(rows, gap=_PAD)


class _Boxes:
    """Draws the boxes of tiles on pictures, and those of patches on overlays."""

    def __init__(self, tiles: Boxes, patches: Boxes, size: Sequence[int]) -> None:
        self._tiles, self._patches, self._size = tiles, patches, size

    def picture(self, panel: Panel, zoom: int) -> Image.Image:
        drawn = self._boxes(_enlarged(panel.picture, zoom), self._tiles, panel, _TILE_COLOR)
        if panel.overlay is None:
            drawn = self._boxes(drawn, self._patches, panel, _PATCH_COLOR)
        return drawn

    def overlay(self, panel: Panel, zoom: int) -> Image.Image:
        assert panel.overlay is not None
        return self._boxes(_enlarged(panel.overlay, zoom), self._patches, panel, _PATCH_COLOR)

    def _boxes(self, image: Image.Image, boxes: Boxes, panel: Panel, color: Color) -> Image.Image:
        if not boxes:
            return image
        axes = list(range(len(self._size)))
        if panel.plane is not None:
            axes.remove(panel.plane.axis)
        scale = [
            extent / self._size[axis]
            for extent, axis in zip((image.height, image.width), axes, strict=True)
        ]
        lines = Image.new("RGBA", image.size)
        pen = ImageDraw.Draw(lines)
        for box in boxes:
            if panel.plane is not None:
                first, last = box[panel.plane.axis]
                if not first <= panel.plane.place < last:
                    continue
            (top, bottom), (left, right) = (
                (round(box[axis][0] * by), round(box[axis][1] * by))
                for axis, by in zip(axes, scale, strict=True)
            )
            if min(bottom - top, right - left) >= _NARROWEST_TILE:
                right, bottom = min(right, image.width - 1), min(bottom, image.height - 1)
                pen.rectangle((left, top, right, bottom), outline=color)
        image.paste(lines, mask=lines)
        return image


def _zoom(panels: Sequence[Panel], small: int) -> int:
    """Return how many pixels of the sheet a pixel of a small picture becomes, along an axis."""
    largest: int = max(max(panel.picture.shape[:2]) for panel in panels)
    return max(1, min(8, small // largest))


def _enlarged(picture: NDArray[np.uint8], zoom: int) -> Image.Image:
    image = Image.fromarray(picture)
    if zoom == 1:
        return image
    return image.resize((image.width * zoom, image.height * zoom), Image.Resampling.NEAREST)


def _font(size: int) -> Any:
    try:
        return ImageFont.truetype("DejaVuSans.ttf", size)  # knows more scripts than Pillow's own
    except OSError:
        return ImageFont.load_default(size)


def _text(text: str, size: int, color: str, width: int) -> Image.Image:
    """Draw a line of text that is shortened in the middle to fit a width."""
    font, text = _font(size), printable(text)
    if font.getlength(text) > width:
        kept = len(text)
        while kept > 1 and font.getlength(_shortened(text, kept)) > width:
            kept = min(kept - 1, int(kept * width / font.getlength(_shortened(text, kept))))
        text = _shortened(text, kept)
    line = Image.new("RGB", (max(1, min(width, int(font.getlength(text)) + 2)), size + 6), _PAPER)
    ImageDraw.Draw(line).text((0, size), text, fill=color, font=font, anchor="ls")
    return line


def _shortened(text: str, kept: int) -> str:
    """Leave out the middle of a text, since both ends of a path matter.

    >>> _shortened("city/street_0001", 8)
    'city…0001'
    """
    return text if kept >= len(text) else f"{text[: kept // 2]}…{text[len(text) - kept // 2 :]}"


def _legend(legend: Legend, width: int) -> Image.Image:
    """Draw a coloured square and a name for each class, in as many lines as needed."""
    entries = []
    for name, color in legend:
        label = _text(name, 13, _INK, width // 2)
        entry = Image.new("RGB", (label.width + 20, label.height), _PAPER)
        box = (0, 3, 13, 16)
        ImageDraw.Draw(entry).rounded_rectangle(box, radius=3, fill=color, outline="#9ca3af")
        entry.paste(label, (20, 0))
        entries.append(entry)
    rows: list[list[Image.Image]] = [[]]
    for entry in entries:
        used = sum(each.width + _GAP for each in rows[-1])
        if rows[-1] and used + entry.width > width:
            rows.append([])
        rows[-1].append(entry)
    return _stacked([_beside(row, gap=_GAP) for row in rows], gap=4)


def _stacked(images: Sequence[Image.Image], *, gap: int) -> Image.Image:
    height = sum(image.height for image in images) + gap * (len(images) - 1)
    sheet = Image.new("RGB", (max(image.width for image in images), height), _PAPER)
    top = 0
    for image in images:
        sheet.paste(image, (0, top))
        top += image.height + gap
    return sheet


def _beside(
    images: Sequence[Image.Image], *, gap: int, column: int | None = None, bottom: bool = False
) -> Image.Image:
    widths = [column or image.width for image in images]
    height = max(image.height for image in images)
    sheet = Image.new("RGB", (sum(widths) + gap * (len(images) - 1), height), _PAPER)
    left = 0
    for image, width in zip(images, widths, strict=True):
        sheet.paste(image, (left, height - image.height if bottom else 0))
        left += width + gap
    return sheet


def _framed(image: Image.Image) -> Image.Image:
    sheet = Image.new("RGB", (image.width + 2 * _MARGIN, image.height + 2 * _MARGIN), _PAPER)
    sheet.paste(image, (_MARGIN, _MARGIN))
    return sheet
