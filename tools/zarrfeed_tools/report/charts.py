"""Draw histograms as SVG. Numbers only, so that nothing needs to be escaped. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from markupsafe import Markup

if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDTH, _HEIGHT, _FOOT = 320, 110, 22
_MARGIN = 16  # of the text of a mark
_TICKS = 6  # at most
LINES = 6  # styles of lines that the style sheet has


def lines(
    distributions: Sequence[Sequence[float]], span: tuple[float, float], *, styles: Sequence[int]
) -> Markup:
    """Draw distributions over each other.

    Parameters
    ----------
    distributions
        The shares of each in bins of equal width. What the outer bins have beyond the highest of
        the others is cut, for it would flatten these.
    span
        The lower edge of the first bin and the upper edge of the last.
    styles
        Number of the style of each line.
    """
    top = highest(distributions)
    drawn = []
    for shares, style in zip(distributions, styles, strict=True):
        step = _WIDTH / len(shares)
        points = []
        for number, share in enumerate(shares):
            y = _HEIGHT * (1 - min(1.0, share / top))
            points += [f"{number * step:.1f},{y:.1f}", f"{(number + 1) * step:.1f},{y:.1f}"]
        drawn.append(f'<polyline class="s{style % LINES}" points="{" ".join(points)}"/>')
    return _chart("".join(drawn), span)


def highest(distributions: Sequence[Sequence[float]]) -> float:
    """Return the highest share of all but the outer bins; of all bins, if these have all."""
    inner = max((share for shares in distributions for share in shares[1:-1]), default=0.0)
    return inner or max((share for shares in distributions for share in shares), default=0.0) or 1.0


def bars(counts: Sequence[int], span: tuple[float, float]) -> Markup:
    """Draw a histogram.

    Parameters
    ----------
    counts
        The number of values in each bin; the bins have equal width.
    span
        The lower edge of the first bin and the upper edge of the last.
    """
    top, step = max(counts, default=0) or 1, _WIDTH / max(1, len(counts))
    drawn = []
    for number, count in enumerate(counts):
        height = _HEIGHT * count / top
        if count:
            height = max(1.5, height)  # one of very many is seen
            drawn.append(
                f'<rect class="area" x="{number * step + 0.75:.2f}" y="{_HEIGHT - height:.2f}" '
                f'width="{max(0.5, step - 1.5):.2f}" height="{height:.2f}"/>'
            )
    return _chart("".join(drawn), span)


def _chart(drawn: str, span: tuple[float, float]) -> Markup:
    foot = _HEIGHT + _FOOT - 4
    marks = []
    for value in ticks(*span):
        x = _WIDTH * (value - span[0]) / (span[1] - span[0])
        anchor = "start" if x < _MARGIN else "end" if x > _WIDTH - _MARGIN else "middle"
        marks.append(
            f'<line class="axis" x1="{x:.1f}" y1="{_HEIGHT}" x2="{x:.1f}" y2="{_HEIGHT + 4}"/>'
            f'<text x="{x:.1f}" y="{foot}" text-anchor="{anchor}">{format_number(value)}</text>'
        )
    return Markup(
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT + _FOOT}" aria-hidden="true">{drawn}'
        f'<line class="axis" x1="0" y1="{_HEIGHT}" x2="{_WIDTH}" y2="{_HEIGHT}"/>'
        f"{''.join(marks)}</svg>"
    )


def ticks(low: float, high: float) -> list[float]:
    """Return up to six round numbers that lie evenly between two.

    Examples
    --------
    >>> ticks(5.5, 257.5), ticks(-0.2, 0.31), ticks(7.0, 7.0)
    ([50.0, 100.0, 150.0, 200.0, 250.0], [-0.2, -0.1, 0.0, 0.1, 0.2, 0.3], [])
    """
    if not 0 < high - low < math.inf:
        return []
    power = 10.0 ** math.floor(math.log10((high - low) / _TICKS))
    step = next(step * power for step in (1, 2, 5, 10) if (high - low) / (step * power) <= _TICKS)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) + 0.0 for number in range(first, last + 1)][:_TICKS]


def bar(share: float) -> Markup:
    """Draw a share, 0 … 1, as a bar."""
    width = 100 * min(1.0, max(0.0, share))
    width = max(1.0, width) if share > 0 else 0.0
    return Markup(
        '<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect width="{width:.1f}" height="10"/></svg>'
    )


def swatch(color: tuple[int, int, int]) -> Markup:
    """Draw a square of a colour."""
    red, green, blue = (int(part) for part in color)
    return Markup(
        '<svg class="swatch" viewBox="0 0 10 10" aria-hidden="true">'
        f'<rect width="10" height="10" fill="#{red:02x}{green:02x}{blue:02x}"/></svg>'
    )


def format_number(value: float) -> str:
    """Write a number with four digits that matter.

    Examples
    --------
    >>> format_number(0.0), format_number(-1023.5), format_number(12345678.0)
    ('0', '-1,024', '1.235e+07')
    """
    if value == 0 or 0.01 <= abs(value) < 1e6:
        written = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
        return written.replace("-0", "0") if float(written.replace(",", "")) == 0 else written
    return f"{value:.4g}"
