"""Does an index of masks with palettes mean the same class in all of them?

A viewer shows the colours of a palette, and zarrfeed packs its indices. If all masks have the same
palette, both mean the same. If a tool gave each mask its own palette, with colours in another
order, the indices mean nothing, and only the author of the masks knows whether colours are the
classes.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, TypeAlias

from zarrfeed.errors import SourceError, look_up
from zarrfeed_convert.planning.survey_tasks import collect_colors

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from zarrfeed_convert.executors.executor import Executor, Progress
    from zarrfeed_convert.planning.survey_tasks import Measured
    from zarrfeed_convert.source import Source

# Index → 0xRRGGBB.
Palette: TypeAlias = "Mapping[int, int]"

_SURVEYED_TOGETHER = 16


def agreed_palette(
    source: Source,
    executor: Executor,
    measured: Measured,
    others: Mapping[str, Palette],
    *,
    progress: Progress | None,
) -> Palette:
    """Find the palette that all masks have in common.

    Headers are enough if they agree. Otherwise all masks are decoded, because only the entries that
    a mask uses matter.

    Parameters
    ----------
    source, executor, measured, progress
        The source, the executor that reads it, the samples, and a callback for progress.
    others
        The palettes that the masks of the dataset's other splits use, by name of the split.

    Raises
    ------
    SourceError
        An index is shown in two colours, or a colour has two indices.
    """
    palettes = dict.fromkeys(header.mask_colors for header in measured.headers)
    palettes.pop((), None)
    if not palettes:
        return {}
    merged = _merged(palettes)
    if merged is not None and all(_fits(merged, other) for other in others.values()):
        return merged
    items = [
        item
        for item, header in zip(measured.items, measured.headers, strict=True)
        if header.mask_colors
    ]
    starts = range(0, len(items), _SURVEYED_TOGETHER)
    shown = _shown_by(others)
    several: set[int] = set()
    jobs = [items[at : at + _SURVEYED_TOGETHER] for at in starts]
    for first, twice in executor.run(collect_colors, jobs, progress):
        several |= twice
        for pair, item in first.items():
            shown.setdefault(pair, source.names(item)[1])
    _require_one_meaning(shown, several)
    return {index: color for index, color in sorted(shown) if color >= 0}


def require_same_palettes(palettes: Mapping[str, Palette]) -> Palette:
    """Merge the palettes of splits, and refuse those that contradict each other.

    Parameters
    ----------
    palettes
        The palette entries that the masks of each split use, by name of the split.

    Raises
    ------
    SourceError
        An index is shown in two colours, or a colour has two indices.
    """
    shown = _shown_by(palettes)
    counts = [Counter(palette.values()) for palette in palettes.values()]
    several = {color for count in counts for color, times in count.items() if times > 1}
    _require_one_meaning(shown, several)
    return dict(sorted(shown))


def palette_of(attributes: Mapping[str, Any]) -> Palette:
    """Read the palette entries that the masks of a split use; empty if they are damaged.

    Parameters
    ----------
    attributes
        The split's ``attributes.zarrfeed``.
    """
    try:
        shown = attributes["packed"]["palette"]
        return {int(index): int(color[1:], 16) for index, color in shown.items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def palette_text(palette: Palette) -> dict[str, str]:
    """Write a palette as :func:`palette_of` reads it."""
    return {str(index): f"#{color:06X}" for index, color in palette.items()}


def _shown_by(splits: Mapping[str, Palette]) -> dict[tuple[int, int], str]:
    return {
        (index, color): f"the split {name!r}"
        for name, palette in splits.items()
        for index, color in palette.items()
    }


def _merged(palettes: Iterable[tuple[int, ...]]) -> Palette | None:
    """Merge palettes, of which some may be shorter; None if two differ."""
    merged: dict[int, int] = {}
    for palette in palettes:
        for index, color in enumerate(palette):
            if color >= 0 and merged.setdefault(index, color) != color:
                return None
    return merged


def _fits(palette: Palette, used: Palette) -> bool:
    """Return whether a palette agrees with the entries that other masks use."""
    colors = set(palette.values())
    return all(
        palette[index] == color if index in palette else color not in colors
        for index, color in used.items()
    )


def _require_one_meaning(shown: Mapping[tuple[int, int], str], several: Collection[int]) -> None:
    """Refuse masks whose palettes differ in the entries that they use.

    Parameters
    ----------
    shown
        An index and its colour → the first mask that has them.
    several
        Colours that one mask has at several indices, so that only indices distinguish classes.
    """
    by_index: dict[int, int] = {}
    by_color: dict[int, int] = {}
    for index, color in shown:
        if color < 0:
            continue
        before = by_index.setdefault(index, color), by_color.setdefault(color, index)
        if before[0] != color:
            other = shown[index, before[0]]
            found = f"index {index} as #{color:06X}, {other} shows it as #{before[0]:06X}"
        elif before[1] != index and color not in several:
            found = f"#{color:06X} at index {index}, {shown[before[1], color]} at {before[1]}"
        else:
            continue
        every = sorted({max(color, ~color) for _, color in shown})
        colors = [f"#{color:06X}={number}" for number, color in enumerate(every)]
        indices = [f"{number}={number}" for number in sorted({index for index, _ in shown})]
        raise SourceError(
            f"{shown[index, color]}: shows {found}: the masks have palettes of their own. If "
            f"colours are classes, say which, like --mask-map '{_some(colors)}'; if indices are, "
            f"whatever they show, --mask-map '{_some(indices)}'"
            f"{look_up('colours')}"
        )


def _some(parts: list[str]) -> str:
    return ",".join(parts[:8] + ["…"] * (len(parts) > 8))
