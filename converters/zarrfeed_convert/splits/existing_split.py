"""Was an existing split packed by zarrfeed, and is it what this run would write?

A dataset of unknown origin may contain symbolic links. They are refused, since this run would write
and remove files outside the dataset through them.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import SourceError, look_up
from zarrfeed.spelling import few
from zarrfeed.store.address import entry_kind
from zarrfeed.store.schema import DESCRIPTIVE, IMAGE, MASK
from zarrfeed_convert.source import SAMPLES
from zarrfeed_convert.sources.option_checks import NO_MASKS
from zarrfeed_convert.splits.destination import classes_text, ignore_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from zarrfeed_convert.source import JSON
    from zarrfeed_convert.splits.destination import Destination

# Settings that older splits do not record, and their values at that time.
_SINCE = {"overlap": 0}
_SHOWN = 5  # differences in an error
_LONG = 160  # characters of a value in an error
# Options of the command whose entries are not options of one format.
_FLAGS = {
    name: f"--{name.strip('_').replace('_', '-')}"
    for name in (
        *(
            "images",
            "masks",
            "color",
            "mask_map",
            "image_suffix",
            "mask_suffix",
            "as_",
            "geometry",
            "instances",
        ),
        *("size", "fit", "overlap", "pad_value", "tile", "orient", "spacing", "codec"),
        *("chunk_samples", "shard_size", "order", "seed", "classes", "ignore"),
    )
} | {"fields": "--field"}


def asked_for(source: JSON, found: int, settings: JSON) -> JSON:
    """Return the part of a run's arguments that decides a split's bytes.

    Parameters
    ----------
    source
        Description of the source; see :meth:`Source.describe`.
    found
        Number of samples of the source, including inputs that make none.
    settings
        Settings of the conversion.
    """
    return {"source": source, "number of samples": found, **settings}


def differences(old: JSON, new: JSON, *, alone: bool = False) -> list[str]:
    """List the entries in which two descriptions differ.

    Parameters
    ----------
    old, new
        The descriptions.
    alone
        Whether both are of images without masks: ``--masks none`` is then the same as none given.

    Examples
    --------
    >>> differences({"seed": 0, "size": [2, 3]}, {"seed": 1, "size": [2, 3]})
    ['--seed: 0 there, 1 asked for']
    """
    formats = [_source(each).get("kind", "none") for each in (old, new)]
    if formats[0] != formats[1]:  # their options have nothing in common
        return [f"--format: {formats[0]} there, {formats[1]} asked for"]
    options = {*_source(old), *_source(new)} - {"kind", "facts"}
    before, after = _flat(old), _flat(new)
    if alone:
        before, after = _without_no_masks(before), _without_no_masks(after)
    return [
        _difference(name, before, after, options)
        for name in dict.fromkeys([*before, *after])
        if _compared(name, before.get(name)) != _compared(name, after.get(name))
    ]


def _without_no_masks(entries: JSON) -> JSON:
    return {
        name: value
        for name, value in entries.items()
        if name != "masks" or value not in ("", NO_MASKS)
    }


def differences_text(differ: Sequence[str]) -> str:
    """Write the first few differences, and how many more there are."""
    return few(differ, shown=_SHOWN, joint="; ")


def _difference(name: str, before: JSON, after: JSON, options: Collection[str]) -> str:
    if name == "facts":
        return _facts_difference(before, after)
    return (
        f"{_spelt(name, options)}: {_shown(name, before.get(name))} there, "
        f"{_shown(name, after.get(name))} asked for"
    )


def _facts_difference(before: JSON, after: JSON) -> str:
    """Say which facts of the sources differ, whose values may be long."""
    if before.get("kind") == SAMPLES:
        return "other samples"  # the facts are a digest
    facts = [each.get("facts") for each in (before, after)]
    old, new = (each if isinstance(each, dict) else {} for each in facts)
    names = [name for name in dict.fromkeys([*old, *new]) if old.get(name) != new.get(name)]
    said = f": {', '.join(name.replace('_', ' ') for name in names)}" if names else ""
    return f"other contents of the source{said}"


def _spelt(name: str, options: Collection[str]) -> str:
    """Return the name of an entry as users write it: ``--pad-value``, ``-o level``."""
    if name in _FLAGS:
        return _FLAGS[name]
    return f"-o {name}" if name in options else name.replace("_", " ")


def require_same_split(
    destination: Destination,
    there: JSON,
    asked: JSON,
    *,
    fields: Collection[str],
    named: tuple[str, ...] | None,
    ignore: int | None,
) -> None:
    """Check that a split is what this run would write, without reading samples.

    Parameters
    ----------
    destination, there
        The split, and its ``attributes.zarrfeed``.
    asked
        What this run would pack, and how; see :func:`asked_for`.
    fields
        Names of the fields that this run would pack.
    named, ignore
        Classes and ignored id, if the user gave them.

    Raises
    ------
    SourceError
        The split was packed with other arguments. The message lists the differences.
    """
    _require_packed(destination, there)
    packed = there["packed"]
    settings = _SINCE | packed.get("settings", {})
    before = asked_for(there.get("source", {}), packed.get("found"), settings)
    labels_before, labels_asked = _labels(destination, named, ignore)
    alone = MASK not in {*fields, *_fields_of(there)}
    differ = differences(before | labels_before, asked | labels_asked, alone=alone)
    if differ:
        raise SourceError(
            f"{destination.folder}: exists already, packed otherwise ({differences_text(differ)}); "
            "use --overwrite to replace it, or choose another name for the split"
            f"{look_up('split-exists')}"
        )


def require_replaceable(destination: Destination, there: JSON) -> None:
    """Check that a split may be replaced: it holds only what zarrfeed packed.

    Parameters
    ----------
    destination, there
        The split, and its ``attributes.zarrfeed``.

    Raises
    ------
    SourceError
        It is not a split, is a symbolic link, or contains arrays that were added later.
    """
    _require_packed(destination, there)
    added = added_to(destination.folder, {IMAGE, MASK, *_fields_of(there)})
    if added:
        raise SourceError(
            f"{destination.folder}: needed only arrays that zarrfeed packed, found "
            f"{', '.join(added)}, too, which would be lost; move it elsewhere, or choose another "
            "name for the split"
            f"{look_up('split-exists')}"
        )


def _fields_of(there: JSON) -> list[str]:
    """Return the names of a split's fields: a pair if it does not say them."""
    fields = there.get("fields")
    return [*map(str, fields)] if isinstance(fields, list) else [IMAGE, MASK]


def _require_packed(destination: Destination, there: JSON) -> None:
    require_own([destination.folder], below=False)
    if "packed" not in there:
        raise SourceError(
            f"{destination.folder}: needed a split that zarrfeed packed, or a new path, found "
            "something else, which was left unchanged; choose another name for the split"
            f"{look_up('split-exists')}"
        )


def _source(description: JSON) -> JSON:
    source = description.get("source")
    return source if isinstance(source, dict) else {}


def _flat(description: JSON) -> JSON:
    """Move the entries of ``source`` to the top level; prefix those whose name is taken there."""
    source = _source(description)
    if not source:
        return description
    rest = {name: value for name, value in description.items() if name != "source"}
    return {f"source {name}" if name in rest else name: source[name] for name in source} | rest


def _labels(
    destination: Destination, named: tuple[str, ...] | None, ignore: int | None
) -> tuple[JSON, JSON]:
    """Return the labels of the dataset and those of the user, as entries to compare."""
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
    """Return a value to compare. The order of further fields counts, since transforms get it."""
    return [*value.items()] if what == "fields" and isinstance(value, dict) else value


def _shown(what: str, value: Any) -> str:
    if what in ("size", "tile") and isinstance(value, list):
        return "x".join(map(str, value))
    if what == "spacing" and isinstance(value, list):
        return ",".join(f"{each:g}" if isinstance(each, float) else str(each) for each in value)
    if what == "masks" and value == "":
        return "left out"  # the format's own, if it has some
    text = "none" if value is None or value == "" else str(value)
    return text if len(text) <= _LONG else f"{text[:_LONG]}…"


def require_own(folders: Iterable[Path], *, below: bool = True) -> None:
    """Check that folders, and all that is below them, are plain folders and files.

    Parameters
    ----------
    folders
        Folders, which need not exist.
    below
        Whether to check what is below them, too.

    Raises
    ------
    SourceError
        There is a symbolic link, pipe, socket or device. The message names the first.
    """
    for path in (path for folder in folders for path in _entries(folder, below)):
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode) or stat.S_ISREG(mode):
            continue
        what = entry_kind(mode)
        if stat.S_ISLNK(mode):
            what += f" to {os.readlink(path)}"  # noqa: PTH115 (pathlib tidies it)
        raise SourceError(
            f"{path}: needed a plain file or folder, found {what}, which zarrfeed does not follow; "
            "remove it, or choose another OUT"
            f"{look_up('links')}"
        )


def added_to(split: Path, fields: Collection[str]) -> list[str]:
    """Return the names of a split's folders that zarrfeed did not write, sorted.

    These may be arrays of any kind, or groups of arrays.

    Parameters
    ----------
    split
        Folder of the split.
    fields
        Names of its fields.
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
