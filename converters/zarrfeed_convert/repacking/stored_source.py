"""How are the samples of packed splits read, and how are damaged ones named?"""

from __future__ import annotations

import resource
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed import SplitReader
from zarrfeed.errors import ReadError, SourceError
from zarrfeed.store.case_table import CaseTable
from zarrfeed.store.names import decode_names
from zarrfeed.store.schema import (
    CASE_FIRST_TILE,
    CASE_KEY,
    CASE_SIZE,
    IMAGE,
    KEY,
    SHARD_FILES,
)
from zarrfeed_convert.header import Header
from zarrfeed_convert.source import Source, recorded_fields
from zarrfeed_convert.verification.file_check import KnownFile, check_file
from zarrfeed_convert.verification.sample_check import Expected, check_sample

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from zarrfeed import Split
    from zarrfeed_convert.shards.rows import Numbers
    from zarrfeed_convert.source import JSON, Mask, Sample

# Bytes to decode at a time, few enough to stay in the processor's cache until they are encoded.
# Repacking a sample of 256×256 RGB to lz4 takes 0.63 ms if samples are read one by one, 0.56 ms
# with 1 MiB, 0.57 with 2 MiB, 0.68 with 8 MiB.
READ_NBYTES = 1 << 20
_OPEN_SPLITS = 16
_OPEN_FILES = 512  # in all open splits together; at most half of the process's limit


class StoredSamples(Source):
    """A source of the samples of packed splits, or of the tiles of their cases, in stored order.

    It can read many samples at once. It is not thread-safe; every process has its own. Close it
    after use.

    Parameters
    ----------
    splits
        Opened splits with the same kind of samples, or of tiles; they may have several sizes.
    keys
        Names of all samples; empty for tiles.
    description
        Description of the sources of the samples.
    """

    def __init__(self, splits: Sequence[Split], keys: Sequence[str], description: JSON) -> None:
        self._keys = keys
        # Without their attributes, which may be large. Reading only checks that `packed` exists.
        self._splits = tuple(replace(split, attributes={"packed": {}}) for split in splits)
        self._description = description
        self.fields = recorded_fields(splits[0].attributes["packed"])
        counts = [split.layouts[IMAGE].shape[0] for split in splits]
        self._starts = np.cumsum([0, *counts[:-1]])
        self._readers: dict[int, SplitReader] = {}

    @property
    def keys(self) -> Sequence[str]:
        """The samples' names."""
        return self._keys

    @property
    def memory_nbytes(self) -> int:
        """Bytes that are decoded at a time, and kept meanwhile."""
        return READ_NBYTES

    @property
    def largest_nbytes(self) -> int:
        """Decoded bytes of the largest sample or tile."""
        return max(
            sum(split.layouts[name].sample_nbytes for name in self._names) for split in self._splits
        )

    def split_of(self, sample: int) -> Split:
        """Return the split of a sample or tile."""
        return self._splits[self._place(sample)[0]]

    def describe(self) -> JSON:
        """Return the description of the sources of the samples."""
        return self._description

    def names(self, sample: int) -> tuple[str, ...]:
        """Return the paths or addresses of the shard files that contain a sample's fields."""
        split = self.split_of(sample)
        return tuple(_said(split, path) for path in self._paths(sample).values())

    def probe(self, sample: int) -> Header:  # noqa: ARG002 (all are alike)
        """Return the header of a sample."""
        layouts = self._splits[0].layouts
        kinds = {
            name: (layouts[name].sample_shape, str(layouts[name].dtype)) for name in self._names
        }
        return Header(kinds)

    def read(self, sample: int) -> tuple[NDArray[Any], ...]:
        """Decode a sample.

        Raises
        ------
        SourceError
            The sample cannot be read. The message names the file, the sample and the split.
        """
        try:
            found = self.read_many(np.array([sample]))
        except (ReadError, OSError) as error:
            raise SourceError(f"{error} ({self._text(sample)})") from error
        return tuple(values[0] for values in found.values())

    def read_mask(self, sample: int) -> Mask:
        """Decode a sample's mask."""
        return self.read(sample)[1]

    def read_many(self, samples: Numbers) -> dict[str, NDArray[Any]]:
        """Decode several samples.

        Parameters
        ----------
        samples
            (n,) indices.

        Returns
        -------
        dict
            Field → array (n, H, W, …) or (n, D, H, W, …).

        Raises
        ------
        ReadError
            A sample cannot be read.
        """
        of_split = np.searchsorted(self._starts, samples, side="right") - 1
        rows = samples - self._starts[of_split]
        first = int(of_split[0])
        if (of_split == first).all():
            return self._reader(first).read(rows)
        layouts = self._splits[0].layouts
        gathered = {
            name: np.empty((len(samples), *layouts[name].sample_shape), layouts[name].dtype)
            for name in self._names
        }
        for split in np.unique(of_split).tolist():
            here = of_split == split
            for name, values in self._reader(split).read(rows[here]).items():
                gathered[name][here] = values
        return gathered

    def changed(self, number: int, sample: Sample, expected: Expected) -> SourceError:
        """Return the error for a sample whose digest is not the recorded one.

        Parameters
        ----------
        number
            Index of the sample.
        sample
            The sample as it was read.
        expected
            What is recorded about it.
        """
        split, row = self._place(number)
        paths = self._paths(number)
        opened = self._splits[split]
        states: dict[str, str] = dict.fromkeys(paths, "unknown")
        if opened.origin is None:  # a mirror may have parts of files only
            states = {
                field: check_file(KnownFile(field, path, self._fact(split, row, place))).state
                for place, (field, path) in enumerate(paths.items())
            }
        finding = check_sample(row, sample, expected, states)[0]
        files = (paths.get(name, opened.path / name) for name in finding.blamed)
        blamed = " or ".join(_said(opened, path) for path in files)
        return SourceError(f"{blamed}: {self._text(number)}: {finding.what}")

    def close(self) -> None:
        """Close all files."""
        while self._readers:
            self._readers.popitem()[1].close()

    def __getstate__(self) -> dict[str, Any]:
        """Return the state to pickle: without open files, and without names.

        Sending a pickle that exceeds the buffer of a pipe would delay the start of other processes.
        """
        return self.__dict__ | {"_readers": {}, "_keys": (), "_description": {}}

    @property
    def _names(self) -> list[str]:
        return [field.name for field in self.fields]

    def _place(self, sample: int) -> tuple[int, int]:
        split = int(np.searchsorted(self._starts, sample, side="right")) - 1
        return split, sample - int(self._starts[split])

    def _paths(self, sample: int) -> dict[str, Path]:
        number, row = self._place(sample)
        split = self._splits[number]
        return {
            name: split.path / name / layout.shard_name(row // layout.shard_rows)
            for name, layout in ((name, split.layouts[name]) for name in self._names)
        }

    def _text(self, sample: int) -> str:
        """Return the name of a sample or tile and of its split, for errors."""
        number, row = self._place(sample)
        split = self._splits[number]
        what = "tile" if CASE_KEY in split.layouts else "sample"
        try:
            name = repr(_tile_name(split, row) if what == "tile" else _sample_name(split, row))
        except (ReadError, OSError, ValueError):
            name = str(row)
        return f"{what} {name} of {split.address}"

    def _fact(self, split: int, row: int, field: int) -> tuple[int, int] | None:
        """Read the recorded size and digest of a shard's file; None if they cannot be read."""
        opened = self._splits[split]
        if SHARD_FILES not in opened.layouts:
            return None
        try:
            with SplitReader(opened, [SHARD_FILES], open_files=1) as reader:
                shard = row // opened.layouts[IMAGE].shard_rows
                nbytes, digest = reader.read([shard])[SHARD_FILES][0, field]
        except (ReadError, OSError):
            return None
        return int(nbytes), int(digest)

    def _reader(self, split: int) -> SplitReader:
        reader = self._readers.get(split)
        if reader is None:
            if len(self._readers) == _OPEN_SPLITS:  # close the one that was opened first
                self._readers.pop(next(iter(self._readers))).close()
            allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            files = _OPEN_FILES if allowed < 0 else min(_OPEN_FILES, allowed // 2)  # -1: unlimited
            each = max(2, files // min(len(self._splits), _OPEN_SPLITS))
            reader = SplitReader(self._splits[split], self._names, open_files=each)
            self._readers[split] = reader
        return reader


def _said(split: Split, path: Path) -> str:
    """Return the path of a file of a split or, of a remote one, its address."""
    return f"{split.address}/{path.relative_to(split.path).as_posix()}"


def _sample_name(split: Split, row: int) -> str:
    with SplitReader(split, [KEY], open_files=1) as reader:
        return decode_names(reader.read([row])[KEY])[0]


def _tile_name(split: Split, row: int) -> str:
    """Return the name of a tile: ``CASE#z,y,x``."""
    cases = range(split.layouts[CASE_KEY].shape[0])
    with SplitReader(split, [CASE_KEY, CASE_SIZE, CASE_FIRST_TILE], open_files=3) as reader:
        found = reader.read(cases)
    tile = split.layouts[IMAGE].sample_shape[:-1]
    table = CaseTable(tile, found[CASE_SIZE], found[CASE_FIRST_TILE])
    return table.tile_names(decode_names(found[CASE_KEY]), range(row, row + 1))[0]
