"""What stands in the rows of a page's tables and below its charts? Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zarrfeed.pictures.palette import Palette
from zarrfeed_convert import text_of_bytes
from zarrfeed_tools.report.charts import LINES, bars, format_number, highest, lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup

    from zarrfeed_tools.report.class_rows import ClassRow
    from zarrfeed_tools.report.distributions import Distribution, Intensities
    from zarrfeed_tools.report.facts import Report, SplitReport
    from zarrfeed_tools.report.histograms import Histogram

_MOST_TOGETHER = 24  # classes whose co-occurrence is shown: more are not legible
_COLORS = ("Red", "Green", "Blue")


@dataclass(frozen=True, slots=True)
class SplitRow:
    """A split in the table of splits; `size` and `dtype` are those of its images."""

    name: str
    units: int
    share: float
    size: str
    dtype: str
    skipped: int
    stored: str


@dataclass(frozen=True, slots=True)
class ClassLine:
    """A class in the table of classes, with a cell for every split; None where there is none."""

    id: int
    name: str
    color: tuple[int, int, int]
    cells: tuple[ClassRow | None, ...]


@dataclass(frozen=True, slots=True)
class MatrixLine:
    """A class in a table of co-occurrence, with a share for every column, or None."""

    id: int
    name: str
    cells: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """Which classes go together in a split."""

    split: str
    rows: tuple[MatrixLine, ...]
    left_out: int


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing and what it shows."""

    drawn: Markup
    about: str


@dataclass(frozen=True, slots=True)
class Spread:
    """The sizes and spacings of the cases of a split."""

    split: str
    about: str
    charts: tuple[Chart, ...]


@dataclass(frozen=True, slots=True)
class Channel:
    """The distributions of a channel in all splits."""

    name: str
    drawn: Markup
    cut: bool
    rows: tuple[Distribution, ...]


def split_rows(report: Report) -> list[SplitRow]:
    """Return the rows of the table of splits."""
    total = max(1, sum(split.units for split in report.splits))
    rows = []
    for split in report.splits:
        fields = [each for each in split.facts.fields if each.name not in split.facts.descriptive]
        images = sorted(fields, key=lambda each: (each.name != "image", each.role != "image"))
        stored = [each.stored_bytes for each in fields if each.stored_bytes is not None]
        rows.append(
            SplitRow(
                split.name,
                split.units,
                split.units / total,
                _size_of(split, images[0].shape[1:] if images else ()),
                images[0].dtype if images else "",
                split.skipped_count,
                text_of_bytes(sum(stored)),
            )
        )
    return rows


def _size_of(split: SplitReport, shape: tuple[int, ...]) -> str:
    cases = split.facts.cases
    if cases is None:
        return " × ".join(map(str, shape))
    return " × ".join(
        f"{low:.0f}" if low == high else f"{low:.0f}…{high:.0f}" for low, _, high in cases.size
    )


def class_lines(report: Report) -> tuple[list[str], list[ClassLine], list[float | None] | None]:
    """Return the table of classes.

    Returns
    -------
    splits
        Names of the splits that have a class table.
    lines
        A line for each class, by id.
    ignored
        The share of ignored pixels in each split; None if no split ignores any.
    """
    splits = [split for split in report.splits if split.classes is not None]
    by_id: dict[int, dict[str, ClassRow]] = {}
    for split in splits:
        for row in split.classes.rows if split.classes else ():
            by_id.setdefault(row.id, {})[split.name] = row
    names = [next(iter(by_id[number].values())).name for number in sorted(by_id)]
    colors = Palette(tuple(names)).colors.tolist()
    found = [
        ClassLine(
            number,
            name,
            (color[0], color[1], color[2]),
            tuple(by_id[number].get(split.name) for split in splits),
        )
        for number, name, color in zip(sorted(by_id), names, colors, strict=True)
    ]
    ignored = [_ignored_share(split) for split in splits]
    return [s.name for s in splits], found, ignored if any(ignored) else None


def _ignored_share(split: SplitReport) -> float | None:
    """Return the share of ignored pixels, from those of a class and its share."""
    if split.classes is None or split.classes.ignored is None:
        return None
    for row in split.classes.rows:
        if row.pixels:
            return split.classes.ignored * row.share / row.pixels
    return 1.0 if split.classes.ignored else 0.0


def matrices(report: Report) -> list[Matrix]:
    """Return the tables of co-occurrence of the splits that have several classes."""
    found = []
    for split in report.splits:
        table = split.classes
        if table is None or len(table.together) < 2:
            continue
        units = {
            number: table.cooccurrence[place][place] for place, number in enumerate(table.together)
        }
        shown = sorted(sorted(units, key=lambda number: -units[number])[:_MOST_TOGETHER])
        places = {number: place for place, number in enumerate(table.together)}
        names = {row.id: row.name for row in table.rows}
        rows = [
            MatrixLine(
                one,
                names.get(one, str(one)),
                tuple(
                    None
                    if one == other or not units[one]
                    else table.cooccurrence[places[one]][places[other]] / units[one]
                    for other in shown
                ),
            )
            for one in shown
        ]
        found.append(Matrix(split.name, tuple(rows), len(table.rows) - len(rows)))
    return found


def spreads(report: Report) -> list[Spread]:
    """Return the charts of the sizes and spacings of cases."""
    found = []
    for split in report.splits:
        cases = split.facts.cases
        if split.spread is None or cases is None:
            continue
        axes = ("depth", "height", "width")[-len(cases.tile) :]
        unit = "voxels" if len(axes) == 3 else "pixels"
        charts = [
            _case_chart(histogram, f"{axis} in {unit}", values)
            for axis, histogram, values in zip(axes, split.spread.sizes, cases.size, strict=True)
        ]
        if split.spread.spacings is not None and cases.spacing is not None:
            millimetres = " in mm" if len(axes) == 3 else ""
            charts += [
                _case_chart(histogram, f"spacing along the {axis}{millimetres}", values)
                for axis, histogram, values in zip(
                    axes, split.spread.spacings, cases.spacing, strict=True
                )
            ]
        tile = " × ".join(map(str, cases.tile))
        about = f"Stored in tiles of {tile}; {cases.padded:.0%} of the stored {unit} are padding."
        found.append(Spread(split.name, about, tuple(charts)))
    return found


def _case_chart(histogram: Histogram, what: str, values: tuple[float, float, float]) -> Chart:
    low, middle, high = map(format_number, values)
    told = f"{low} for all" if low == high else f"{low} to {high}, median {middle}"
    drawn = bars(histogram.counts, (histogram.edges[0], histogram.edges[-1]))
    return Chart(drawn, f"{what[0].upper()}{what[1:]}: {told}")


def channels(intensities: Intensities, splits: Sequence[str]) -> list[Channel]:
    """Return the charts and percentiles of each channel.

    Parameters
    ----------
    intensities
        The distributions.
    splits
        Names of all splits, by which they keep their style of line.
    """
    found = []
    for channel, span in intensities.ranges.items():
        rows = [each for each in intensities.distributions if each.channel == channel]
        shares = [row.shares.tolist() for row in rows[:LINES]]
        found.append(
            Channel(
                channel_name(channel, intensities),
                lines(
                    shares,
                    span,
                    styles=[splits.index(row.split) for row in rows[:LINES]],
                ),
                highest(shares) < max(max(each) for each in shares),
                tuple(rows),
            )
        )
    return found


def channel_name(channel: int, intensities: Intensities) -> str:
    """Name a channel; three are probably colours."""
    total = intensities.channels + intensities.left_out
    return _COLORS[channel] if total == len(_COLORS) else f"Channel {channel}"
