"""Is the split that is there already what this run would write?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zarrfeed.errors import SourceError
from zarrfeed_convert.target import listed, said

if TYPE_CHECKING:
    from zarrfeed_convert.plan import Settings
    from zarrfeed_convert.source import JSON, Source
    from zarrfeed_convert.target import Target


def require_same_split(
    target: Target,
    there: JSON,
    samples: Source,
    settings: Settings,
    *,
    named: tuple[str, ...] | None,
    ignore: int | None,
) -> None:
    """Accept a split that is what this run would write, as far as can be told without reading.

    Parameters
    ----------
    target, there
        The split, and what it says of itself.
    samples, settings
        What would be packed, and how.
    named, ignore
        The classes and the ignored id, where the user named them.

    Raises
    ------
    SourceError
        It was packed otherwise: the message says what differs.
    """
    if "packed" not in there:
        require_replaceable(target, there)
    packed = there.get("packed", {})
    pairs: list[tuple[str, Any, Any]] = [
        *_sources(there.get("source"), samples.describe()),
        ("number of samples", packed.get("found"), len(samples.keys)),
        *(
            (what, packed.get("settings", {}).get(what), value)
            for what, value in settings.to_json().items()
        ),
    ]
    differ = [
        f"{what}: {_shown(what, old)} there, {_shown(what, new)} asked for"
        for what, old, new in [*pairs, *_labels(target, named, ignore)]
        if old != new
    ]
    if differ:
        raise SourceError(
            f"{target.folder}: is there already, packed otherwise ({'; '.join(differ)}); "
            "use --overwrite to replace it, or choose another name for the split"
        )


def require_replaceable(target: Target, there: JSON) -> None:
    """Refuse to replace what is no split.

    Raises
    ------
    SourceError
        The split's place is taken by something else.
    """
    if "packed" not in there:
        raise SourceError(
            f"{target.folder}: needed a split that zarrfeed packed, or nothing; found something "
            "else, which was left as it is; choose another name for the split"
        )


def _sources(old: Any, new: JSON) -> list[tuple[str, Any, Any]]:
    """Compare what sources say of themselves, entry by entry."""
    if not isinstance(old, dict) or old.keys() != new.keys():
        return [("source", old, new)]
    return [(what.replace("_", " "), old[what], new[what]) for what in new]


def _labels(
    target: Target, named: tuple[str, ...] | None, ignore: int | None
) -> list[tuple[str, Any, Any]]:
    if target.labels is None or (named is None and ignore is None):
        return []
    ignored = ("ignore", said(target.labels.ignore), said(ignore))
    if named is None:
        return [ignored]
    return [("classes", listed(target.labels.classes), listed(named)), ignored]


def _shown(what: str, value: Any) -> str:
    if what == "size" and isinstance(value, list):
        return "x".join(map(str, value))
    return str(value)
