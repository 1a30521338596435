"""Which split, classes and cases of predictions belong to those of the truth?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.errors import StoreError, look_up
from zarrfeed.spelling import did_you_mean, few, plural
from zarrfeed.store.address import absolute_path, remote_url
from zarrfeed.store.in_place.opening import open_in_place
from zarrfeed.store.located import locate
from zarrfeed.store.schema import MASK
from zarrfeed.store.split import Split
from zarrfeed.store.split_opening import join_path, open_split_at, splits_below
from zarrfeed.store.stores_at import open_or_list

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from zarrfeed.evaluation.case_boxes import CaseBoxes
    from zarrfeed.store.mirror.origin import Remote

_PREDICTED = ("prediction", "probabilities", MASK)


def open_both(
    store: Split | str | os.PathLike[str],
    predictions: Split | str | os.PathLike[str],
    truth: str,
    remote: Remote,
) -> tuple[Split, Split]:
    """Open the split with the truth and the one with the predictions.

    Parameters
    ----------
    store, predictions
        Splits, or paths or addresses of splits, of datasets, or of OME-Zarr images. Of datasets,
        splits of the same name are opened. The truth may also be an image of which there are
        predictions and that is a plain Zarr group: theirs are its axes.
    truth
        The field of the true masks.
    remote
        How addresses are read.

    Raises
    ------
    StoreError
        One is neither, or it is not clear which splits are meant.
    """
    # Addresses that no store can have are refused before anything is opened.
    given = store if isinstance(store, Split) else _place(store)
    predicted, predicted_splits = _opened(predictions, remote)
    if not isinstance(given, Split):
        name = _name(given)
        if isinstance(predicted, Split) or name in predicted_splits:
            of_it = (
                predicted
                if isinstance(predicted, Split)
                else open_split_at(join_path(predicted, name), remote)
            )
            tile = of_it.tile_size
            plain = None
            if tile is not None and not (remote_url(given) and splits_below(given, remote)):
                plain = open_in_place(locate(given, remote), len(tile), (truth,))
            if plain is not None:
                return plain, of_it
    true, true_splits = _opened(given, remote)
    if not isinstance(true, Split):
        only = _common_split(true, true_splits, predicted_splits)
        true = open_split_at(join_path(true, only), remote)
    if isinstance(predicted, Split):
        return true, predicted
    name = true.path.name
    if name not in predicted_splits:
        raise StoreError(
            f"{predicted}: needed predictions of the split {name!r}, found "
            f"{few(predicted_splits)}: name the split to compare, such as "
            f"{join_path(predicted, predicted_splits[0])}"
        )
    return true, open_split_at(join_path(predicted, name), remote)


def _common_split(path: Path | str, splits: tuple[str, ...], predicted: tuple[str, ...]) -> str:
    """Return the split of a dataset that is predicted, or the only one."""
    names = [name for name in splits if name in predicted] or list(splits)
    if len(names) > 1:
        raise StoreError(
            f"{path}: needed the split of which these are predictions, found {few(names)}: name "
            f"it, such as {join_path(path, names[0])}"
        )
    return names[0]


def _place(path: str | os.PathLike[str]) -> Path | str:
    """Return an absolute path, or an address."""
    return remote_url(path) or absolute_path(path)


def _name(place: Path | str) -> str:
    return str(place).rpartition("/")[2]


def _opened(
    store: Split | str | os.PathLike[str], remote: Remote
) -> tuple[Split | Path | str, tuple[str, ...]]:
    """Open a split; of a dataset, return its path and its splits instead."""
    if isinstance(store, Split):
        return store, ()
    place = _place(store)
    found = open_or_list(place, None, "all", remote)
    return (place, tuple(found)) if isinstance(found, list) else (found, ())


def predicted_field(predicted: Split, field: str | None) -> str:
    """Return the field to read: `field`, or the first that predictions usually have.

    Raises
    ------
    StoreError
        There is none of these.
    """
    if field is not None:
        return field
    for name in _PREDICTED:
        if name in predicted.layouts or name in predicted.unfit:
            return name
    raise StoreError(
        f"{predicted.path}: needed a field {', '.join(_PREDICTED[:-1])} or {_PREDICTED[-1]}, found "
        f"{', '.join(predicted.field_names) or 'none'}: name it by field= (--field)"
    )


def common_classes(true: Split, predicted: Split) -> tuple[str, ...]:
    """Return the names of classes by id; empty if neither split has any.

    Names that are only the ids, which packing without ``--classes`` stores, count as none.

    Raises
    ------
    StoreError
        The names differ.
    """
    needed, found = true.classes, predicted.classes
    if not (_are_names(needed) and _are_names(found)) or needed == found:
        return needed or (found if _are_names(found) else ())
    differs = next(
        number
        for number in range(max(len(needed), len(found)))
        if needed[number : number + 1] != found[number : number + 1]
    )
    raise StoreError(
        f"{predicted.path}: needed the classes of {true.path}, {few(needed)}, found {few(found)}: "
        f"class {differs} differs; store predictions with the ids and names of the masks, such as "
        "by `zarrfeed convert --classes`"
    )


def _are_names(names: tuple[str, ...]) -> bool:
    """Whether names of classes are more than their ids."""
    return names != tuple(map(str, range(len(names))))


def require_classes_of(split: Split, field: str) -> None:
    """Check that a field has no numbers of instances, which mean another object in each sample.

    Raises
    ------
    StoreError
        It has.
    """
    if split.instances and field == MASK:
        raise StoreError(
            f"{split.address}/{field}: needed ids of classes, found numbers of instances, which "
            "differ from case to case: pack class ids with --instances semantic or boundary"
        )


def require_classes(excluded: frozenset[str], names: tuple[str, ...]) -> None:
    """Check that the classes to leave out exist, and that others are left.

    Raises
    ------
    ValueError
        There is no such class, or no other.
    """
    for name in sorted(excluded.difference(names)):
        hint = did_you_mean(name, names, otherwise=f"the classes are {few(names)}")
        raise ValueError(f"exclude: needed names of classes, found {name!r}: {hint}")
    if excluded and excluded == frozenset(names):
        raise ValueError(f"exclude: needed a class that is left, found all {len(names)} excluded")


def require_cases(
    true: CaseBoxes, predicted: CaseBoxes, *, allow_missing: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the cases without a prediction, and the predictions of no case.

    Raises
    ------
    StoreError
        There are some and they may not be missing, or no case is left.
    """
    unpredicted = tuple(key for key in true.numbers if key not in predicted.numbers)
    unknown = tuple(key for key in predicted.numbers if key not in true.numbers)
    none_left = len(unpredicted) == len(true.numbers)
    if none_left:
        raise StoreError(
            f"{predicted.split.address}: needed predictions of {true.split.address}, found no case "
            f"in common: there are predictions of {few(unknown, shown=5)}, and masks of "
            f"{few(unpredicted, shown=5)}: name the split that was predicted, or store predictions "
            "by the same keys, such as names of files without their endings"
            f"{look_up('compared-cases')}"
        )
    if (unpredicted or unknown) and not allow_missing:
        found = [f"none of {few(unpredicted, shown=5)}"] if unpredicted else []
        found += [f"predictions without masks: {few(unknown, shown=5)}"] if unknown else []
        raise StoreError(
            f"{predicted.split.address}: needed a prediction of every case of "
            f"{true.split.address}, and no others, found {', and '.join(found)}; predict again, or "
            "compare only the cases that both have by allow_missing=True (--allow-missing)"
            f"{look_up('compared-cases')}"
        )
    return unpredicted, unknown


def require_sizes(true: CaseBoxes, predicted: CaseBoxes, keys: list[str]) -> None:
    """Check that predictions are as large as their masks.

    Raises
    ------
    StoreError
        One is not.
    """
    needed = true.sizes[[true.numbers[key] for key in keys]]
    found = predicted.sizes[[predicted.numbers[key] for key in keys]]
    same_axes = needed.shape == found.shape
    wrong = np.flatnonzero((needed != found).any(axis=1)) if same_axes else np.arange(len(keys))
    if wrong.size:
        at = int(wrong[0])
        raise StoreError(
            f"{predicted.split.address}: needed {tuple(needed[at].tolist())} pixels for "
            f"{keys[at]!r}, the size of its mask, found {tuple(found[at].tolist())}; "
            f"{wrong.size:,} of {plural(len(keys), 'case')} differ: predict the same images, in "
            "the same orientation and spacing"
            f"{look_up('compared-cases')}"
        )
