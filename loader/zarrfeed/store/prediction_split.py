"""Where do predictions go, and how do they become visible, all at once or not at all?

A split of predictions has the rows, tiles and keys of the split that it was made from. It is
written to ``OUT/SPLIT.partial``, where a killed run is continued, and renamed when it is complete.
"""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import StoreError, look_up
from zarrfeed.store.attributes import read_attributes
from zarrfeed.store.folder_lock import locked
from zarrfeed.store.node_metadata import read_metadata
from zarrfeed.store.reader import read_samples
from zarrfeed.store.schema import (
    CASE_AFFINE,
    CASE_FIRST_TILE,
    CASE_KEY,
    CASE_SIZE,
    CASE_SPACING,
    FORMAT_VERSION,
    JOURNAL,
    KEY,
    METADATA,
    PARTIAL,
    PREDICTED,
)
from zarrfeed.store.shard_writer import rows_written, write_arrays, write_group

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from zarrfeed.store.case_table import CaseTable
    from zarrfeed.store.schema import JSON
    from zarrfeed.store.split import Split

# A file in the unfinished split, by which a later run knows that it may empty it.
_MARKER = "unfinished_predictions"
_LOCK_S = 60  # far more than the file operations under the lock of the dataset take


@dataclass(frozen=True, slots=True)
class PredictionSplit:
    """The split that predictions are written to.

    Attributes
    ----------
    folder
        Its folder, once it is complete.
    split
        The split that is predicted.
    cases
        The cases and their tiles; a sample is a case of one tile.
    """

    folder: Path
    split: Split
    cases: CaseTable

    @property
    def partial(self) -> Path:
        """The folder that it is written to."""
        return self.folder.with_name(self.folder.name + PARTIAL)

    @contextmanager
    def writing(self, field: str, settings: JSON, *, overwrite: bool) -> Iterator[Path]:
        """Prepare the folder to which predictions are written, and rename it in the end.

        Parameters
        ----------
        field
            Name of the field of predictions.
        settings
            What the predictions depend on. A run with others is not continued.
        overwrite
            Whether to replace predictions.

        Yields
        ------
        Path
            The folder, which may have shards of a run that was killed.

        Raises
        ------
        StoreError
            There are predictions already, an unfinished run had other settings or is still alive,
            or the output is no dataset, or one with other classes.
        """
        with self._locked(overwrite=overwrite):
            self._begin(field, settings, overwrite=overwrite)
            try:
                yield self.partial
            except BaseException as error:
                if rows_written(self.partial / field):
                    error.add_note(f"{self.partial} keeps what is complete: repeat to continue")
                else:
                    self._remove_partial()
                raise
            self._commit(overwrite=overwrite)

    def _remove_partial(self) -> None:
        with suppress(OSError):  # there is something else
            self._empty()
            (self.partial / _MARKER).unlink()
            self.partial.rmdir()
            self.folder.parent.rmdir()

    def _empty(self) -> None:
        """Remove the contents of the unfinished split.

        At any time, a killed run leaves a folder that says what it is, and has settings only if all
        that they promise is there.
        """
        marker = self.partial / _MARKER
        marker.touch()
        (self.partial / METADATA).unlink(missing_ok=True)
        for entry in self.partial.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            elif entry != marker:
                entry.unlink()

    def first_incomplete(self, rows: int) -> int:
        """Return the first case whose tiles are not all among the first `rows` rows."""
        if rows >= self.cases.tiles:
            return len(self.cases)
        return int(self.cases.cases_of(np.array(rows)))

    @contextmanager
    def _locked(self, *, overwrite: bool) -> Iterator[None]:
        with ExitStack() as held:
            while True:
                self._require_writable(overwrite=overwrite)
                self.partial.mkdir(parents=True, exist_ok=True)
                try:
                    held.enter_context(locked(self.partial))
                    break
                except FileNotFoundError:  # another run has just put it in place
                    continue
            yield

    def _require_writable(self, *, overwrite: bool) -> None:
        out = self.folder.parent
        above = read_attributes(read_metadata(out.parent) or {}, str(out.parent))
        if "classes" in above or (out.name == self.folder.name and out.parent.suffix == ".zarr"):
            there = out.parent != self.split.path.parent
            raise StoreError(
                f"{out}: needed the path of a dataset as OUT, found a path inside one; give "
                f"{out.parent if there else 'another, such as predictions.zarr,'} as OUT"
            )
        root = read_metadata(out) if out.is_dir() else None
        if root is not None:
            found = read_attributes(root, str(out))
            theirs = list(found.get("classes", ())), found.get("ignore")
            if theirs != (list(self.split.classes), self.split.ignore):
                raise StoreError(
                    f"{out}: needed a dataset with the classes {list(self.split.classes)} and the "
                    f"ignored id {self.split.ignore}, found {theirs[0]} and {theirs[1]}: give "
                    "another output folder"
                )
        elif out.exists() and not (
            out.is_dir() and all(each.name.endswith(PARTIAL) for each in out.iterdir())
        ):
            raise StoreError(f"{out}: needed a new folder or a dataset, found something else")
        if not self.folder.exists():
            return
        split = read_attributes(read_metadata(self.folder) or {}, str(self.folder))
        if PREDICTED not in split:
            raise StoreError(
                f"{self.folder} is not a split of predictions: give another output folder"
            )
        if not overwrite:
            raise StoreError(
                f"{self.folder} has predictions already: give another output folder, or overwrite "
                "them (overwrite=True, --overwrite)"
                f"{look_up('split-exists')}"
            )

    def _begin(self, field: str, settings: JSON, *, overwrite: bool) -> None:
        before = self._begun()
        if before is not None and _text(before) != _text(settings):
            if not overwrite:
                changed = [
                    f"{name}={before.get(name)!r} (now {value!r})"
                    for name, value in settings.items()
                    if _text(before.get(name)) != _text(value)
                ]
                raise StoreError(
                    f"{self.partial} was begun with other settings: {', '.join(changed)}: repeat "
                    "that call, replace it (overwrite=True, --overwrite), or give another output "
                    "folder"
                    f"{look_up('other-settings')}"
                )
            before = None
        if before is None:
            self._empty()
            write_arrays(self.partial, self._described())
            # Last: with the metadata, everything is there.
            write_group(self.partial, self._attributes(field, settings))

    def _begun(self) -> JSON | None:
        """Return the settings of an unfinished run; None if there is none that can go on.

        Raises
        ------
        StoreError
            The folder has something else than predictions, such as an unfinished conversion.
        """
        attributes = read_attributes(read_metadata(self.partial) or {}, str(self.partial))
        found: JSON | None = attributes.get(PREDICTED)
        ours = found is not None or (self.partial / _MARKER).exists()
        journal = self.folder.with_name(self.folder.name + JOURNAL)
        if journal.exists() or not (ours or not any(self.partial.iterdir())):
            raise StoreError(
                f"{self.partial}: needed a new folder or unfinished predictions, found an "
                "unfinished conversion, or something else, which was left unchanged: repeat the "
                "same `zarrfeed convert` to finish it, remove it, or give another output folder"
                f"{look_up('unfinished-split')}"
            )
        return found

    def _described(self) -> dict[str, Any]:
        """Return the arrays that describe samples or cases."""
        split = self.split
        if split.tile_size is None:
            return _copied(split, (KEY,))
        return {
            **_copied(split, (CASE_KEY, CASE_SPACING, CASE_AFFINE)),
            CASE_SIZE: self.cases.sizes,
            CASE_FIRST_TILE: self.cases.first_tile,
        }

    def _attributes(self, field: str, settings: JSON) -> JSON:
        of_cases = {} if self.split.tile_size is None else {"cases": len(self.cases)}
        crs = {
            name: self.split.attributes[name] for name in ("crs",) & self.split.attributes.keys()
        }
        return {
            "format": FORMAT_VERSION,
            "fields": [field],
            "samples": self.cases.tiles,
            PREDICTED: settings,
            **of_cases,
            **crs,
        }

    def _commit(self, *, overwrite: bool) -> None:
        out = self.folder.parent
        # The lock of `zarrfeed convert`: splits are put in place one after the other.
        with locked(out, wait_s=_LOCK_S):
            self._require_writable(overwrite=overwrite)  # another split may have been put in place
            if read_metadata(out) is None:
                classes = list(self.split.classes)
                root = {"format": FORMAT_VERSION, "classes": classes, "ignore": self.split.ignore}
                # No file is left beside the splits by a kill.
                write_group(out, root, through=self.partial / _MARKER)
            aside = self.folder.with_name(f"{self.folder.name}~old{PARTIAL}")
            shutil.rmtree(aside, ignore_errors=True)  # left by a run that was killed here
            if self.folder.exists():
                self.folder.rename(aside)
            (self.partial / _MARKER).unlink(missing_ok=True)
            self.partial.rename(self.folder)
        shutil.rmtree(aside, ignore_errors=True)


def _copied(split: Split, names: tuple[str, ...]) -> dict[str, Any]:
    found = {name: split.describing(name) for name in names}
    return {
        name: read_samples(split, name, range(layout.shape[0]))
        for name, layout in found.items()
        if layout is not None
    }


def _text(settings: object) -> str:
    """Return settings as text, in which NaN equals NaN."""
    return json.dumps(settings, sort_keys=True)
