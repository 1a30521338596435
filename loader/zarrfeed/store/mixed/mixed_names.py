"""The keys of samples or cases of several stores: which key of which store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zarrfeed.store.case_reading import read_case_keys
from zarrfeed.store.descriptive_arrays import sample_names
from zarrfeed.store.field_reader import FieldReader
from zarrfeed.store.field_source import row_layout
from zarrfeed.store.names import encode_names
from zarrfeed.store.read_plan import ReadPlan
from zarrfeed.store.schema import CASE_KEY, KEY

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from zarrfeed.store.box_plan import BoxPlan
    from zarrfeed.store.schema import ArrayLayout
    from zarrfeed.store.split import Split

_NUMBERED = 27  # bytes of "sample NUMBER", which a sample without a key is called


@dataclass(frozen=True, slots=True, eq=False)
class MixedNames:
    """Keys of several stores, as ``STORE:KEY``, because two stores may have the same one.

    Attributes
    ----------
    splits, labels
        The stores, and what each is called.
    counts
        Number of samples or cases of each.
    cases
        Whether cases are named.
    """

    splits: tuple[Split, ...]
    labels: tuple[str, ...]
    counts: tuple[int, ...]
    cases: bool

    @property
    def layout(self) -> ArrayLayout:
        """The layout of an array that holds the same."""
        lengths = []
        for split, label in zip(self.splits, self.labels, strict=True):
            stored = split.describing(CASE_KEY if self.cases else KEY)
            longest = stored.shape[1] if stored else _NUMBERED
            lengths.append(encode_names([f"{label}:"]).shape[1] + longest)
        return row_layout((sum(self.counts), max(lengths)), np.dtype(np.uint8))

    def open(self, *, open_files: int, cache_nbytes: int = 0) -> FieldReader:  # noqa: ARG002
        """Open a reader, which opens files when it reads."""
        return _NamesReader(self)


class _NamesReader(FieldReader):
    def __init__(self, names: MixedNames) -> None:
        self._names = names
        counts = np.array(names.counts, np.int64)
        self._first: NDArray[np.int64] = np.cumsum(counts) - counts

    def read_into(self, plan: ReadPlan, out: NDArray[Any]) -> None:
        names = self._names
        store = np.searchsorted(self._first, plan.ids, side="right") - 1
        for number in np.unique(store).tolist():
            here = np.flatnonzero(store == number)
            ids = plan.ids[here] - self._first[number]
            read = read_case_keys if names.cases else sample_names
            own = encode_names(
                [f"{names.labels[number]}:{key}" for key in read(names.splits[number], ids)]
            )
            rows = here if plan.land is None else plan.land[here]
            out[rows] = 0
            out[rows, : own.shape[1]] = own

    def read_box_into(self, plan: BoxPlan, out: NDArray[Any]) -> None:
        width = self._names.layout.shape[1]
        for row, part in zip(plan.rows, plan.parts, strict=True):
            values = np.empty((1, width), np.uint8)
            self.read_into(ReadPlan(np.array([row])), values)
            index: tuple[int | slice, ...] = (0, *part.inside)
            out[part.lands] = values[index]
