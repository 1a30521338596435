"""Is what stands in a split's place zarrfeed's own, and is it what this run would write?

A dataset may come from anywhere. A link leads out of it: what a run writes through it, or removes
when it fails, would be somebody else's.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import SourceError
from zarrfeed.store.address import entry_kind
from zarrfeed.store.schema import DESCRIPTIVE, IMAGE, MASK
from zarrfeed_convert.splits.destination import classes_text, ignore_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from zarrfeed_convert.source import JSON
    from zarrfeed_convert.splits.destination import Destination


# Settings that older splits do not record, and what these were then.
_SINCE = {"overlap": 0}


def asked_for(source: JSON, found: int, settings: JSON) -> JSON:
    """Gather what a run was asked for, as far as it decides a split's bytes.

    Parameters
    ----------
    source
        What it says of itself.
    found
        Its samples.
    settings
        Of the conversion.
    """
    return {"source": source, "number of samples": found, **settings}


def differences(old: JSON, new: JSON) -> list[str]:
    """Say in which entries two descriptions differ.

    Examples
    --------
    >>> differences({"seed": 0, "size": [2, 3]}, {"seed": 1, "size": [2, 3]})
    ['seed: 0 there, 1 asked for']
    """
    before, after = _flat(old), _flat(new)
    names = dict.fromkeys([*before, *after])
    return [
        f"{name.replace('_', ' ')}: {_shown(name, before.get(name))} there, "
        f"{_shown(name, after.get(name))} asked for"
        for name in names
        if _compared(name, before.get(name)) != _compared(name, after.get(name))
    ]


def require_same_split(
    destination: Destination,
    there: JSON,
    asked: JSON,
    *,
    named: tuple[str, ...] | None,
    ignore: int | None,
) -> None:
    """Accept a split that is what this run would write, as far as can be told without reading.

    Parameters
    ----------
    destination, there
        The split, and what it says of itself.
    asked
        What would be packed, and how: see :func:`asked_for`.
    named, ignore
        The classes and the ignored id, where the user named them.

    Raises
    ------
    SourceError
        It was packed otherwise: the message says what differs.
    """
    _require_packed(destination, there)
    packed = there["packed"]
    settings = _SINCE | packed.get("settings", {})
    before = asked_for(there.get("source", {}), packed.get("found"), settings)
    labels_before, labels_asked = _labels(destination, named, ignore)
    differ = differences(before | labels_before, asked | labels_asked)
    if differ:
        raise SourceError(
            f"{destination.folder}: is there already, packed otherwise ({'; '.join(differ)}); "
            "use --overwrite to replace it, or choose another name for the split"
        )


def require_replaceable(destination: Destination, there: JSON) -> None:
    """Refuse to replace what is no split, or holds more than zarrfeed packed.

    Raises
    ------
    SourceError
        The split's place is taken by something else, such as a link to it; or somebody added
        arrays to it, which would be lost.
    """
    _require_packed(destination, there)
    fields = there.get("fields")
    known = {IMAGE, MASK, *map(str, fields if isinstance(fields, list) else ())}
    added = added_to(destination.folder, known)
    if added:
        raise SourceError(
            f"{destination.folder}: needed nothing but what zarrfeed packed, found "
            f"{', '.join(added)} besides, which would be lost; move it elsewhere, or choose "
            "another name for the split"
        )


def _require_packed(destination: Destination, there: JSON) -> None:
    require_own([destination.folder], below=False)
    if "packed" not in there:
        raise SourceError(
            f"{destination.folder}: needed a split that zarrfeed packed, or nothing; found "
            "something else, which was left as it is; choose another name for the split"
        )


def _flat(description: JSON) -> JSON:
    """Bring the source's entries to the level of the others, unless they mean something else."""
    source = description.get("source")
    if not isinstance(source, dict):
        return description
    rest = {name: value for name, value in description.items() if name != "source"}
    return {f"source {name}" if name in rest else name: source[name] for name in source} | rest


def _labels(
    destination: Destination, named: tuple[str, ...] | None, ignore: int | None
) -> tuple[JSON, JSON]:
    """Compare the classes that are there with those that the user named."""
    if destination.labels is None or (named is None and ignore is None):
        return {}, {}
    before, asked = {}, {}
    if named is not None:
        before["classes"], asked["classes"] = (
            classes_text(destination.labels.classes),
            classes_text(named),
        )
    before["ignore"], asked["ignore"] = ignore_text(destination.labels.ignore), ignore_text(ignore)
    return before, asked


def _compared(what: str, value: Any) -> Any:
    """Let the order of further fields count, in which transforms get them."""
    return [*value.items()] if what == "fields" and isinstance(value, dict) else value


def _shown(what: str, value: Any) -> str:
    if what == "size" and isinstance(value, list):
        return "x".join(map(str, value))
    return "none" if value is None else str(value)


def require_own(folders: Iterable[Path], *, below: bool = True) -> None:
    """Refuse links, pipes and devices in the place of folders, and anywhere below them.

    Parameters
    ----------
    folders
        Which need not be there.
    below
        Whether to look into them.

    Raises
    ------
    SourceError
        The message names the first, and where a link leads to.
    """
    for path in (path for folder in folders for path in _entries(folder, below)):
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode) or stat.S_ISREG(mode):
            continue
        what = entry_kind(mode)
        if stat.S_ISLNK(mode):
            what += f" to {os.readlink(path)}"  # noqa: PTH115 (pathlib tidies it)
        raise SourceError(
            f"{path}: needed a plain file or folder, found {what}, through which nothing is "
            "written or removed; remove it, or choose another OUT"
        )


def added_to(split: Path, fields: Collection[str]) -> list[str]:
    """Name the folders of a split that zarrfeed did not write, sorted.

    They may be arrays of any kind, also such as cannot feed batches, or groups of them.

    Parameters
    ----------
    split
        Its folder.
    fields
        Its arrays that feed batches.
    """
    folders = {entry.name for entry in split.iterdir() if entry.is_dir()}
    return sorted(folders - DESCRIPTIVE - {*fields})


def _entries(folder: Path, below: bool) -> Iterator[Path]:
    if not os.path.lexists(folder):
        return
    yield folder
    if not below:
        return
    for parent, folders, files in os.walk(folder):  # follows no link
        yield from (Path(parent, name) for name in (*folders, *files))
