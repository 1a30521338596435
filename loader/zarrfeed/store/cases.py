"""The images and volumes of a split of cases, by their keys."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.errors import CaseKeyError, StoreError, look_up
from zarrfeed.machine_memory import enough_memory, require_memory
from zarrfeed.spelling import did_you_mean, few
from zarrfeed.store.case_array import CaseArray, ReaderPool
from zarrfeed.store.case_reading import read_case_keys, read_case_table
from zarrfeed.store.in_place.opening import open_in_place
from zarrfeed.store.located import locate
from zarrfeed.store.mirror.origin import Remote
from zarrfeed.store.reader import read_samples
from zarrfeed.store.schema import CASE_AFFINE, CASE_KEY, CASE_SPACING, IMAGE
from zarrfeed.store.split import Split
from zarrfeed.store.split_opening import open_located

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from zarrfeed.store.mirror.origin import StorageOptions

# Keys among which a similar one is looked for: comparing with each takes 20 µs.
_MOST_COMPARED = 10_000


def open_case(
    store: Split | str | os.PathLike[str],
    key: str,
    field: str | None = None,
    *,
    cache: str | os.PathLike[str] | None = None,
    cache_limit: int | str | None = None,
    storage_options: StorageOptions | None = None,
) -> CaseArray:
    """Open an image or volume of any size, to read any box of it.

    To open many, call :func:`open_cases` once.

    Parameters
    ----------
    store
        A split of cases, as ``zarrfeed convert --tile`` writes it, or its path or address; or that
        of an OME-Zarr image, or of a folder of such.
    key
        Name of the case in the source.
    field
        Name of the field; by default the image, or the only field.
    cache, cache_limit, storage_options
        How an address is read, as for :class:`zarrfeed.ZarrSequence`.

    Returns
    -------
    CaseArray
        A lazy array of shape (H, W[, C]) or (D, H, W[, C]), without padding.

    Raises
    ------
    StoreError
        It is no split of cases, its arrays are damaged, or it has no such case or field.

    Examples
    --------
    >>> from zarrfeed import open_case
    >>> scan = open_case("ct.zarr/train", "patient_07")  # doctest: +SKIP
    >>> scan.shape, scan.dtype, scan.spacing  # doctest: +SKIP
    ((96, 340, 440, 1), dtype('int16'), (2.5, 0.8, 0.8))
    >>> scan[48, ::2, ::2, 0].shape  # doctest: +SKIP
    (170, 220)
    """
    cases = open_cases(
        store, field, cache=cache, cache_limit=cache_limit, storage_options=storage_options
    )
    return cases[key]


def open_cases(
    store: Split | str | os.PathLike[str],
    field: str | None = None,
    *,
    cache: str | os.PathLike[str] | None = None,
    cache_limit: int | str | None = None,
    storage_options: StorageOptions | None = None,
) -> Cases:
    """Open all images or volumes of a split of cases.

    Parameters
    ----------
    store
        A split of cases, as ``zarrfeed convert --tile`` writes it, or its path or address; or that
        of an OME-Zarr image, or of a folder of such.
    field
        Name of the field; by default the image, or the only field.
    cache, cache_limit, storage_options
        How an address is read, as for :class:`zarrfeed.ZarrSequence`.

    Returns
    -------
    Cases
        A mapping from keys to lazy arrays of the field.

    Raises
    ------
    StoreError
        It is no split of cases, or its arrays are damaged.

    Examples
    --------
    >>> from zarrfeed import open_cases
    >>> for key, scan in open_cases("ct.zarr/train").items():  # doctest: +SKIP
    ...     print(key, scan.shape, scan[:, 100, 100].mean())
    """
    if not isinstance(store, Split):
        located = locate(store, Remote.of(cache, cache_limit, storage_options))
        found = open_in_place(located, None, "all")
        store = open_located(located) if found is None else found
    return Cases(store, field)


class Cases(Mapping[str, CaseArray]):
    """The cases of a split, in the order of the store: key → lazy array of a field.

    Get one from :func:`open_cases`.

    Attributes
    ----------
    split
        The opened split.
    tile_size
        Size of a tile in pixels, (h, w) or (d, h, w).
    sizes
        (M, 2) or (M, 3) int64: size of each case in pixels, (H, W) or (D, H, W).
    spacings
        (M, 2) or (M, 3) float64: length of a step along each axis, NaN where it is unknown; None if
        no case has one.
    affines
        (M, 3, 3) or (M, 4, 4) float64, as :attr:`CaseArray.affine`, NaN where it is unknown; None
        if no case has one.
    """

    def __init__(self, split: Split, field: str | None = None) -> None:
        self.split = split
        self._field = field
        self._table = read_case_table(split)
        self.tile_size = self._table.tile
        self.sizes = self._table.sizes
        self._pools: dict[str, ReaderPool] = {}

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields that :meth:`open` takes."""
        return self.split.default_fields

    @cached_property
    def spacings(self) -> NDArray[np.float64] | None:
        """Length of a step along each axis; None if no case has one."""
        return self._optional(CASE_SPACING, (len(self.tile_size),))

    @cached_property
    def affines(self) -> NDArray[np.float64] | None:
        """Where pixels are in the world; None if no case says it."""
        return self._optional(CASE_AFFINE, (len(self.tile_size) + 1,) * 2)

    def open(self, key: str, field: str | None = None) -> CaseArray:
        """Open a field of a case.

        Parameters
        ----------
        key
            Name of the case in the source.
        field
            Name of the field; by default that of :func:`open_cases`.

        Raises
        ------
        StoreError
            There is no such case or field.
        """
        case = self._numbers.get(key)
        if case is None:
            raise self._unknown(key)
        spacing = None if self.spacings is None else self.spacings[case]
        affine = None if self.affines is None else self.affines[case]
        return CaseArray(
            self._pool(self._default_field() if field is None else field),
            self._table.grid(case),
            int(self._table.first_tile[case]),
            key=key,
            spacing=None if spacing is None or np.isnan(spacing).any() else tuple(spacing.tolist()),
            affine=None if affine is None or np.isnan(affine).any() else affine.copy(),
            crs=self._crs_of(case),
        )

    def _default_field(self) -> str:
        if self._field is not None or IMAGE in self.fields:
            return self._field or IMAGE
        if len(self.fields) == 1:
            [only] = self.fields
            return only
        raise StoreError(
            f"{self.split.address}: needed a field {IMAGE!r}, found {', '.join(self.fields)}: "
            f"choose one by .open(key, {next(iter(self.fields), '')!r})"
            f"{look_up('fields')}"
        )

    def _crs_of(self, case: int) -> str | None:
        """Return the coordinate reference system of a case: that of all, or one of several."""
        said = self.split.attributes.get("crs")
        if said is None:
            return None
        try:
            number = said["case"][case] if "case" in said else 0
            wkt = None if number is None or number < 0 else said["wkt"][number]
        except (TypeError, LookupError) as error:
            raise StoreError(
                f"{self.split.address}: needed a coordinate reference system for case {case} in "
                f"its attributes, found {said!r:.200}: restore them, or convert again"
            ) from error
        return None if wkt is None else str(wkt)

    def __getitem__(self, key: str) -> CaseArray:
        """Open the field of a case; raises a ``KeyError`` if there is no such case."""
        return self.open(key)

    def __contains__(self, key: object) -> bool:
        return key in self._numbers

    def __iter__(self) -> Iterator[str]:
        """Iterate over the keys in the order of the store."""
        return iter(self._numbers)

    def __len__(self) -> int:
        """Count the cases."""
        return len(self._table)

    def __repr__(self) -> str:
        return f"<{len(self)} cases of {self.split.address}: {few(list(self), shown=3)}>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: a table, and four cases."""
        return self.split._repr_html_()

    @cached_property
    def _numbers(self) -> dict[str, int]:
        folder, count = self.split.path / CASE_KEY, len(self)
        keys = self.split.layouts[CASE_KEY]
        # As an array, and as texts.
        require_memory(folder, count * (2 * keys.sample_nbytes + 200), f"{count:,} keys")
        with enough_memory(folder, f"{count:,} keys"):
            names = read_case_keys(self.split, range(count))
            numbers = {key: number for number, key in enumerate(names)}
        if len(numbers) < count:
            again = next(key for number, key in enumerate(names) if numbers[key] != number)
            raise StoreError(
                f"{folder}: needed a different key for every case, found {again!r} twice: restore "
                "it, or convert again"
            )
        return numbers

    def _unknown(self, key: str) -> CaseKeyError:
        keys = list(self)[:_MOST_COMPARED]
        hint = did_you_mean(str(key), keys)
        return CaseKeyError(
            f"{self.split.address}: needed the key of one of {len(self):,} cases, such as "
            f"{few(map(repr, keys), shown=3, counted=True)}, found {key!r:.200}"
            f"{hint and f'; {hint}'}"
            f"{look_up('unknown-key')}"
        )

    def _pool(self, field: str) -> ReaderPool:
        pool = self._pools.get(field)
        if pool is None:
            pool = ReaderPool(self.split, field)
            tiles, tile = pool.layout.shape[0], pool.layout.sample_shape[: len(self.tile_size)]
            if (tiles, tile) != (self.split.tiles, self.tile_size):
                raise StoreError(
                    f"{self.split.address}/{field}: needed {self.split.tiles:,} tiles of "
                    f"{self.tile_size}, found {tiles:,} of {tile}: choose one of "
                    f"{', '.join(self.fields)}"
                )
            self._pools[field] = pool
        return pool

    def _optional(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float64] | None:
        if name not in self.split.layouts and name not in self.split.unfit:
            return None
        needed, layout = (len(self), *shape), self.split.describing(name)
        if layout is None or layout.shape != needed:
            found = self.split.unfit.get(name) or f"{self.split.layouts[name].shape}"
            raise StoreError(
                f"{self.split.address}/{name}: needed floats {needed}, found {found}: restore it, "
                "or convert again"
            )
        values: NDArray[np.float64] = read_samples(self.split, name, range(len(self)))
        return values.astype(np.float64, copy=False)
