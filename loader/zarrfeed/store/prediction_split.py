"""Where do predictions go, and how do they become visible, all at once or not at all?

A split of predictions has the rows, tiles and keys of the split that it was made from. It is
written to ``OUT/SPLIT.partial``, where a killed run is continued, and renamed when it is complete.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.errors import StoreError
from zarrfeed.store.address import absolute_path
from zarrfeed.store.attributes import read_attributes
from zarrfeed.store.case_reading import read_case_table
from zarrfeed.store.case_table import CaseTable
from zarrfeed.store.in_place.opening import open_in_place
from zarrfeed.store.node_metadata import read_metadata
from zarrfeed.store.reader import read_samples
from zarrfeed.store.schema import (
    CASE_AFFINE,
    CASE_FIRST_TILE,
    CASE_KEY,
    CASE_SIZE,
    CASE_SPACING,
    FORMAT_VERSION,
    KEY,
    PARTIAL,
)
from zarrfeed.store.shard_writer import rows_written, write_arrays, write_group
from zarrfeed.store.split import list_splits, open_split

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from zarrfeed.store.schema import JSON
    from zarrfeed.store.split import Split

_SETTINGS = "prediction"  # in a split's attributes
_TILE = {2: 256, 3: 64}  # extent of tiles, where the split has none


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
        self._require_writable(overwrite=overwrite)
        self.partial.mkdir(parents=True, exist_ok=True)
        with _locked(self.partial):
            self._begin(field, settings, overwrite=overwrite)
            try:
                yield self.partial
            except BaseException as error:
                if rows_written(self.partial / field):
                    error.add_note(f"{self.partial} keeps what is complete: repeat to continue")
                raise
            self._commit()

    def first_incomplete(self, rows: int) -> int:
        """Return the first case whose tiles are not all among the first `rows` rows."""
        if rows >= self.cases.tiles:
            return len(self.cases)
        return int(self.cases.cases_of(np.array(rows)))

    def _require_writable(self, *, overwrite: bool) -> None:
        out = self.folder.parent
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
        if _SETTINGS not in split:
            raise StoreError(
                f"{self.folder} is not a split of predictions: give another output folder"
            )
        if not overwrite:
            raise StoreError(
                f"{self.folder} has predictions already: give another output folder, or overwrite "
                "them (overwrite=True, --overwrite)"
            )

    def _begin(self, field: str, settings: JSON, *, overwrite: bool) -> None:
        found = read_attributes(read_metadata(self.partial) or {}, str(self.partial))
        before = found.get(_SETTINGS)
        if before is not None and before != settings:
            if rows_written(self.partial / field) and not overwrite:
                changed = [
                    f"{name}={before.get(name)!r} (now {value!r})"
                    for name, value in settings.items()
                    if before.get(name) != value
                ]
                raise StoreError(
                    f"{self.partial} was begun with other settings: {', '.join(changed)}: repeat "
                    "that call, remove the folder, or give another output folder"
                )
            before = None
        if before is None:
            for entry in self.partial.iterdir():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            write_arrays(self.partial, self._described())
            # Last: with the metadata, everything is there.
            write_group(self.partial, self._attributes(field, settings))

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
            _SETTINGS: settings,
            **of_cases,
            **crs,
        }

    def _commit(self) -> None:
        out = self.folder.parent
        if read_metadata(out) is None:
            classes = list(self.split.classes)
            root = {"format": FORMAT_VERSION, "classes": classes, "ignore": self.split.ignore}
            write_group(out, root)
        aside = self.folder.with_name(f"{self.folder.name}~old{PARTIAL}")
        shutil.rmtree(aside, ignore_errors=True)  # left by a run that was killed here
        if self.folder.exists():
            self.folder.rename(aside)
        self.partial.rename(self.folder)
        shutil.rmtree(aside, ignore_errors=True)


def open_predicted(path: str | os.PathLike[str], axes: int, fields: Sequence[str] | None) -> Split:
    """Open the split that is to be predicted.

    Parameters
    ----------
    path
        A split, a dataset with only one, or images that are read where they are.
    axes
        Number of spatial axes of the patches.
    fields
        Fields of images that are read where they are; None for all.

    Raises
    ------
    StoreError
        There is no such split, or there are several.
    """
    split = open_in_place(path, axes, fields)
    if split is not None:
        return split
    folder = absolute_path(path)
    splits = list_splits(folder) if folder.is_dir() else ()
    if len(splits) > 1:
        raise StoreError(
            f"{folder}: needed one split, found {', '.join(splits)}: name one, such as "
            f"{folder / splits[-1]}"
        )
    return open_split(folder.joinpath(*splits))


def cases_of(split: Split, field: str, axes: int) -> CaseTable:
    """Return the cases of a split; those of a split of samples have one tile each.

    The tiles are those of the split, except of images that are read where they are.

    Parameters
    ----------
    split
        An opened split.
    field
        A field that is predicted from.
    axes
        Number of spatial axes of the patches.

    Raises
    ------
    StoreError
        The split has no such field, or another number of axes.
    """
    layout = split.select([field])[field]
    shape = layout.sample_shape
    table = None if split.tile_size is None else read_case_table(split)
    found = (len(shape), len(shape) - 1) if table is None else (len(table.tile),)
    if axes not in found:
        raise StoreError(
            f"{split.path}: patches with {axes} axes need samples or cases with {axes} spatial "
            f"axes, found {shape} per row of {field!r}: give the patches as many axes"
        )
    if table is not None and split.sources:  # chunks of others may be as large as a case
        most = table.sizes.max(axis=0).tolist()
        tile = tuple(min(_TILE[axes], extent) for extent in most)
        return CaseTable.of_sizes(table.sizes, tile)
    if table is not None:
        return table
    rows = layout.shape[0]
    sizes = np.broadcast_to(np.array(shape[:axes], np.int64), (rows, axes))
    return CaseTable(shape[:axes], sizes, np.arange(rows))


def _copied(split: Split, names: tuple[str, ...]) -> dict[str, Any]:
    found = {name: split.describing(name) for name in names}
    return {
        name: read_samples(split, name, range(layout.shape[0]))
        for name, layout in found.items()
        if layout is not None
    }


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise StoreError(
            f"{folder}: another run is writing to it: wait for it, or give another output folder"
        ) from None
    finally:
        os.close(descriptor)
