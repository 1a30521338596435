"""To which orientation and spacing were the volumes of a dataset's other splits brought?"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError
from zarrfeed.spelling import few
from zarrfeed_convert.arguments import require_spacing
from zarrfeed_convert.planning.layout import Decision

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zarrfeed_convert.planning.plan import Settings
    from zarrfeed_convert.source import JSON
    from zarrfeed_convert.splits.destination import Destination


def spacing_of_others(destination: Destination) -> tuple[float, ...] | None:
    """Return the spacing of the first of the other splits that records one; None if none does."""
    for name in destination.others:
        with suppress(SourceError):  # damaged: whoever verifies that split will say so
            spacing = require_spacing(destination.settings_of(name).get("spacing"))
            if spacing is not None:
                return spacing
    return None


def about_other_spaces(destination: Destination, settings: Settings) -> tuple[Decision, ...]:
    """Tell of a split whose volumes were turned or resampled otherwise.

    Parameters
    ----------
    destination, settings
        Where this split is written, and its settings.
    """
    recorded = settings.to_json()
    for name in destination.others:
        there = destination.settings_of(name)
        for what in ("orient", "spacing"):
            one, other = (_text(each.get(what)) for each in (recorded, there))
            if one != other:
                reason = (
                    f"{one}, but {name} has {other}: a model of one sees volumes of the other "
                    f"{'turned' if what == 'orient' else 'at another scale'}; use the same --{what}"
                )
                return (Decision("other splits", f"{what} differs", reason),)
    return ()


def about_merged_spaces(settings: Mapping[str, JSON]) -> tuple[Decision, ...]:
    """Tell of splits to merge whose volumes were turned or resampled in different ways.

    Parameters
    ----------
    settings
        Name of each split → its recorded settings.
    """
    about = []
    for what in ("orient", "spacing"):
        by_text: dict[str, str] = {}
        for name, recorded in settings.items():
            by_text.setdefault(_text(recorded.get(what)), name)
        if len(by_text) > 1:
            said = few(f"{text} of {name}" for text, name in by_text.items())
            reason = (
                f"{said}: the split holds volumes that lie in different ways, or at different "
                f"scales; convert all with the same --{what} if they should not"
            )
            about.append(Decision("other splits", f"{what} differs", reason))
    return tuple(about)


def _text(recorded: object) -> str:
    """Return a setting as on the command line."""
    if recorded is None:
        return "keep"
    values = recorded if isinstance(recorded, list) else [recorded]
    return ",".join(f"{each:g}" if isinstance(each, float) else f"{each!s:.20}" for each in values)
