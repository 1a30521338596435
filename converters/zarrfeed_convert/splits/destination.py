"""Where does a split go, and what binds it there?

A dataset's classes bind a split only while others have them: a split that is packed alone, or that
replaces the only one, brings its own.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError
from zarrfeed.spelling import few
from zarrfeed.store.schema import ATTRIBUTES, FORMAT_VERSION, METADATA, PARTIAL
from zarrfeed_convert.labels import Labels
from zarrfeed_convert.planning.palettes import palette_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from zarrfeed_convert.planning.palettes import Palette
    from zarrfeed_convert.source import JSON


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a split goes.

    Attributes
    ----------
    out
        The dataset.
    split
        The split's name in it.
    labels
        Classes and ignored id of the dataset; None where there is no dataset yet.
    others
        The names of its other splits that are complete.
    """

    out: Path
    split: str
    labels: Labels | None
    others: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """The split's folder."""
        return self.out / self.split

    @property
    def binding(self) -> Labels | None:
        """The classes and ignored id that other splits have, so that this one must; or None."""
        # Of images without masks, nobody may have named classes yet.
        return self.labels if self.others and self.labels and self.labels.classes else None

    def palettes(self) -> dict[str, Palette]:
        """Read what palettes showed where masks of the other splits used them, by split."""
        return {name: palette_of(_attributes(self.out / name) or {}) for name in self.others}

    def packed(self) -> JSON | None:
        """Read what the split says of itself, if it is there already."""
        if not self.folder.exists():
            return None
        return _attributes(self.folder) or {}

    def require_same_labels(self, labels: Labels) -> None:
        """Refuse a split whose ids would mean something else than in the other splits.

        Raises
        ------
        SourceError
            Its classes or its ignored id are not those of the dataset.
        """
        binding = self.binding
        if binding is None or not labels.classes:
            return
        others = ", ".join(self.others)
        if labels.classes != binding.classes:
            raise SourceError(
                f"{self.out}: classes must be the same in all splits: needed those of {others}, "
                f"{classes_text(binding.classes)}; found {classes_text(labels.classes)}; "
                "leave --classes out to use the dataset's, or pack all splits anew, in one way, "
                "into another OUT"
            )
        if labels.ignore != binding.ignore:
            hint = "leave --ignore out" if binding.ignore is None else f"use {_option(binding)}"
            raise SourceError(
                f"{self.out}: the ignored id must be the same in all splits: needed that of "
                f"{others}, {ignore_text(binding.ignore)}; found {ignore_text(labels.ignore)}; "
                f"{hint}, or pack all splits anew, with one ignored id, into another OUT"
            )


def destination_of(out: Path, split: str) -> Destination:
    """Look at where a split shall go.

    Raises
    ------
    SourceError
        The split's name is no plain name, or OUT holds something that is not ours.
    """
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", split) or split.endswith(
        (PARTIAL, METADATA)
    ):
        raise SourceError(
            f"split: needed a plain name like 'train' (letters, digits, _ . -), found {split!r}"
        )
    store = out.absolute().parent
    if (store.suffix == ".zarr" and out.name == split) or "classes" in (_attributes(store) or {}):
        raise SourceError(
            f"{out}: OUT is the whole dataset, and --split names the part of it that is packed: "
            f"give {out.parent} as OUT"
        )
    if not out.exists() or (out.is_dir() and _holds_only_partials(out)):
        return Destination(out, split, None, ())
    attributes = _attributes(out) if out.is_dir() else None
    if not attributes or "classes" not in attributes:
        raise SourceError(
            f"{out}: exists and is not a zarrfeed dataset; it was left as it is: "
            "choose another name for OUT"
        )
    if attributes.get("format") != FORMAT_VERSION:
        raise SourceError(
            f"{out}: needed a dataset of format {FORMAT_VERSION}, "
            f"found {attributes.get('format')!r}; pack it anew, or use another zarrfeed"
        )
    labels = _labels(out, attributes)
    return Destination(out, split, labels, tuple(_splits(out, but=split)))


def _labels(out: Path, attributes: JSON) -> Labels:
    classes, ignore = attributes["classes"], attributes.get("ignore")
    if (
        isinstance(classes, list)
        and all(isinstance(name, str) for name in classes)
        and (ignore is None or type(ignore) is int)
    ):
        return Labels(tuple(classes), ignore)
    raise SourceError(
        f"{out / METADATA}: needed a list of names as classes and a number, or none, as ignored "
        f"id, found {classes!r:.80} and {ignore!r:.40}; restore it, or choose another OUT"
    )


def _attributes(folder: Path) -> JSON | None:
    """Read a group's ``attributes.zarrfeed``; None where it has none."""
    path = folder / METADATA
    try:
        if not path.is_file():  # a pipe, which nobody writes to, would be read for ever
            return None
        attributes = json.loads(path.read_text(encoding="utf-8"))["attributes"][ATTRIBUTES]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    return attributes if isinstance(attributes, dict) else None


def _splits(out: Path, *, but: str) -> list[str]:
    """Name the complete splits of a dataset except one."""
    names = (entry.name for entry in out.iterdir() if entry.is_dir())
    return sorted(
        name
        for name in names
        if name != but and not name.endswith(PARTIAL) and _attributes(out / name) is not None
    )


def _option(labels: Labels) -> str:
    return f"--ignore {labels.ignore}"


def _holds_only_partials(out: Path) -> bool:
    """Tell whether OUT is empty but for what a killed run left."""
    return all(entry.is_dir() and entry.name.endswith(PARTIAL) for entry in out.iterdir())


def classes_text(classes: Sequence[str]) -> str:
    """Count classes, and name the first."""
    return f"{len(classes)} ({few(classes, counted=True)})"


def ignore_text(ignore: int | None) -> str:
    """Write an ignored id."""
    return "none" if ignore is None else str(ignore)
