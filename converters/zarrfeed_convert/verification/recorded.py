"""What does a split record about its samples and files?"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed import SplitReader
from zarrfeed.errors import ReadError, StoreError
from zarrfeed.store.names import decode_names
from zarrfeed.store.schema import (
    CASE_AFFINE,
    CASE_FIRST_TILE,
    CASE_KEY,
    CASE_SIZE,
    CASE_SPACING,
    CHANNEL_SUMS,
    CLASS_PIXELS,
    DESCRIPTIONS,
    DHASH,
    DIGEST,
    IMAGE,
    KEY,
    METADATA,
    SHARD_FILES,
    TILE,
    TILE_SIZE,
    TILE_SOURCE,
)
from zarrfeed_convert.shards.cases import Cases, TileNames
from zarrfeed_convert.source import image_names, recorded_fields
from zarrfeed_convert.verification.case_check import check_affines, check_cases
from zarrfeed_convert.verification.consistency import (
    PER_CASE,
    PER_SAMPLE,
    TODO,
    about,
    check_arrays,
    check_attributes,
    check_channels,
    check_keys,
    check_tiles,
    field_names,
    is_of_cases,
    is_older,
    tile_of,
)
from zarrfeed_convert.verification.file_check import KnownFile
from zarrfeed_convert.verification.sample_check import Expected

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from zarrfeed import Split
    from zarrfeed_convert.shards.rows import Rows
    from zarrfeed_convert.verification.findings import Problem

# Arrays that may be all zeros; zarr-python then writes no file.
_MAYBE_ZERO = frozenset({CLASS_PIXELS, CHANNEL_SUMS, TILE, CASE_FIRST_TILE})


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a split records.

    Attributes
    ----------
    split
        The opened split.
    samples
        Number of samples; the smallest of all arrays if they differ.
    arrays
        Name → values of the descriptive arrays that can be read.
    keys
        Names of the samples.
    absent
        Name of an array → a file of it that does not exist. This is no problem if the array is all
        zeros.
    cases
        The cases of a split of cases whose tiles are its samples; None for other splits, and if the
        arrays that describe them are missing or damaged.
    rows
        The tiles of these cases, whose items are numbers of cases.
    """

    split: Split
    samples: int
    arrays: Mapping[str, NDArray[Any]]
    keys: Sequence[str]
    absent: Mapping[str, str]
    cases: Cases | None = None
    rows: Rows | None = None

    @property
    def fields(self) -> list[str]:
        """Names of the fields."""
        return field_names(self.split)

    @property
    def expected(self) -> Expected:
        """What is recorded about each sample."""
        digest = self.arrays.get(DIGEST)
        images = image_names(recorded_fields(self.split.attributes["packed"]))
        if self.cases is None and is_of_cases(self.split):
            return Expected(digest, None, None, None, images)  # which pixels count is not known
        return Expected(
            digest,
            self.arrays.get(CLASS_PIXELS),
            self.arrays.get(CHANNEL_SUMS),
            self.arrays.get(DHASH),
            images,
            None if self.rows is None else self.rows.own_sizes(tile_of(self.split)),
        )

    @property
    def aligned(self) -> bool:
        """Whether all fields exist, with the same samples in shards of the same number."""
        layouts, names = self.split.layouts, self.fields
        fields = [layouts[field].shard_rows for field in names if field in layouts]
        return len(fields) == len(names) and len(set(fields)) == 1

    @property
    def shards(self) -> list[tuple[range, tuple[KnownFile, ...]]]:
        """The rows of every shard, and its file in each field."""
        fields = self.fields
        layouts = {name: self.split.layouts[name] for name in fields if name in self.split.layouts}
        step = max((layout.shard_rows for layout in layouts.values()), default=1)
        facts = self.arrays.get(SHARD_FILES)
        count = -(-self.samples // step) if facts is None else len(facts)
        return [
            (
                range(min(number * step, self.samples), min((number + 1) * step, self.samples)),
                tuple(
                    KnownFile(
                        name,
                        self.split.path / name / layout.shard_name(number),
                        None if facts is None else _fact(facts[number, fields.index(name)]),
                    )
                    for name, layout in layouts.items()
                ),
            )
            for number in range(count)
        ]


def recorded_of(split: Split) -> tuple[Recorded, list[Problem]]:
    """Read what a split records, and check that it is consistent.

    Parameters
    ----------
    split
        A split that zarrfeed packed.

    Returns
    -------
    recorded
        What can be read.
    problems
        Problems of records that cannot be read or are not consistent.

    Raises
    ------
    StoreError
        The metadata of the split are damaged.
    """
    try:
        return _recorded_of(split)
    except Exception as error:  # damaged metadata may raise anything
        raise StoreError(f"{split.path / METADATA}: {error!r}; {TODO}") from error


def _recorded_of(split: Split) -> tuple[Recorded, list[Problem]]:
    problems = [*check_attributes(split), *check_arrays(split)]
    fields = field_names(split)
    per_sample = {*fields, *PER_SAMPLE}
    samples = min(
        [layout.shape[0] for name, layout in split.layouts.items() if name in per_sample],
        default=0,
    )
    arrays: dict[str, NDArray[Any]] = {}
    for name in (*PER_SAMPLE, SHARD_FILES, TILE_SOURCE, TILE_SIZE, *PER_CASE):
        if name not in split.layouts:
            continue
        length, *rest = split.layouts[name].shape
        if split.describing(name) is None:
            problems.append(_of_another_kind(split, name))
            continue
        if name in per_sample:
            length = samples
        elif name in PER_CASE and length > samples:
            problems.append(
                about(
                    split,
                    "array",
                    f"needed at most {samples:,} cases, one for each tile, found "
                    f"{length:,}; {TODO}",
                    name,
                )
            )
            continue
        elif name == SHARD_FILES and rest != [len(fields), 2]:
            continue
        try:
            arrays[name] = _read(split, name, length)
        except Exception as error:  # damaged metadata may raise anything
            said = str(error) if isinstance(error, ReadError) else f"{error!r}; {TODO}"
            problems.append(about(split, "array", said, name))
    recorded = Recorded(split, samples, arrays, _keys(arrays, samples), dict(_absent(split)))
    found = [*_check(recorded)]
    if {CASE_KEY, CASE_SIZE, CASE_FIRST_TILE} <= arrays.keys() and IMAGE in split.layouts:
        cases = _cases(arrays)
        wrong = [*check_cases(split, cases, samples)]
        elsewhere = [*check_affines(split, cases, arrays.get(CASE_SPACING))]
        found += check_keys(split, arrays[CASE_KEY], cases.keys, array=CASE_KEY)
        found += [*wrong, *elsewhere]
        if not wrong:
            cases = replace(cases, affines=None) if elsewhere else cases
            rows = cases.rows(tile_of(split))
            recorded = replace(recorded, cases=cases, rows=rows, keys=TileNames(cases.keys, rows))
    return recorded, [*problems, *found, *_check_channels(recorded)]


def _of_another_kind(split: Split, name: str) -> Problem:
    layout, (kinds, extents) = split.layouts[name], DESCRIPTIONS[name]
    what = (
        f"needed numbers of the kind {' or '.join(kinds)} with {1 + len(extents)} axes, found "
        f"{layout.dtype} of the shape {layout.shape}; {TODO}"
    )
    return about(split, "array", what, name)


def _keys(arrays: Mapping[str, NDArray[Any]], samples: int) -> list[str]:
    return (
        decode_names(arrays[KEY]) if KEY in arrays else [f"sample {row}" for row in range(samples)]
    )


def _cases(arrays: Mapping[str, NDArray[Any]]) -> Cases:
    return Cases(
        decode_names(arrays[CASE_KEY]),
        arrays[CASE_SIZE].astype(np.int64),
        arrays[CASE_FIRST_TILE].astype(np.int64),
        arrays.get(CASE_AFFINE),
    )


def _read(split: Split, name: str, length: int) -> NDArray[Any]:
    if name in _MAYBE_ZERO:
        split = replace(split, attributes={})  # read absent files as zeros, as Zarr defines it
    with SplitReader(split, [name], open_files=8) as reader:
        return reader.read(range(length))[name]


def _absent(split: Split) -> Iterator[tuple[str, str]]:
    for name in _MAYBE_ZERO & split.layouts.keys():
        layout = split.layouts[name]
        for number in range(-(-layout.shape[0] // layout.shard_rows)):
            path = split.path / name / layout.shard_name(number)
            if not path.exists():
                yield name, str(path)
                break


def _check(recorded: Recorded) -> Iterator[Problem]:
    """Check that the arrays are consistent."""
    split, arrays = recorded.split, recorded.arrays
    if KEY in arrays:
        yield from check_keys(split, arrays[KEY], recorded.keys)
    if {TILE, TILE_SOURCE, TILE_SIZE} <= arrays.keys():
        names = decode_names(arrays[TILE_SOURCE])
        yield from check_tiles(split, arrays[TILE], arrays[TILE_SIZE], names, recorded.keys)


def _check_channels(recorded: Recorded) -> Iterator[Problem]:
    split, arrays = recorded.split, recorded.arrays
    if CHANNEL_SUMS not in arrays or IMAGE not in split.layouts or is_older(split):
        return
    if recorded.cases is not None:
        yield from check_channels(split, arrays[CHANNEL_SUMS], recorded.cases.pixels)
    elif not is_of_cases(split):
        pixels = recorded.samples * math.prod(tile_of(split))
        yield from check_channels(split, arrays[CHANNEL_SUMS], pixels)


def _fact(values: NDArray[np.uint64]) -> tuple[int, int]:
    nbytes, digest = values.tolist()
    return nbytes, digest
