"""Which columns of a CSV file have images, runs and classes? Pure functions of a header."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from zarrfeed.errors import SourceError
from zarrfeed.spelling import did_you_mean, few

if TYPE_CHECKING:
    from collections.abc import Sequence

_JOINED = ("imageidclassid", "imageidclass", "imagelabel", "idclass", "filenameclass")
_IMAGES = (
    "imageid", "imagename", "filename", "fileid", "imgid", "image", "img", "file", "id", *_JOINED,
)  # fmt: skip
_RUNS = (
    "encodedpixels", "rlemask", "rleencoding", "rle", "encoding", "segmentation", "annotation",
    "runs", "mask", "pixels",
)  # fmt: skip
_LABELS = ("classid", "classname", "class", "label", "categoryid", "category")


class Columns(NamedTuple):
    """Numbers of the columns.

    Attributes
    ----------
    image, runs
        Those of images and of runs.
    label
        That of classes; None if there is none.
    number
        Number of all columns.
    joined
        Whether the name of the column of images says that it has classes, too.
    """

    image: int
    runs: int
    label: int | None
    number: int
    joined: bool


def columns_of(header: Sequence[str], path: str, *, image: str, runs: str, label: str) -> Columns:
    """Find the columns by their names.

    Parameters
    ----------
    header
        The names of all columns.
    path
        Path of the file, for errors.
    image, runs, label
        Names that the user gives; empty to find them. ``none`` as `label` says that there is no
        column of classes.

    Raises
    ------
    SourceError
        There is no such column.

    Examples
    --------
    >>> columns_of(["ImageId", "ClassId", "EncodedPixels"], "t.csv", image="", runs="", label="")
    Columns(image=0, runs=2, label=1, number=3, joined=False)
    """
    bare = [re.sub("[^a-z0-9]", "", name.lower()) for name in header]
    of_runs = _find(header, bare, path, "rle_column", runs, _RUNS)
    of_image = _find(header, bare, path, "id_column", image, _IMAGES)
    of_label = None
    if label and label != "none":
        of_label = _find(header, bare, path, "class_column", label, ())
    elif not label:
        of_label = next((bare.index(name) for name in _LABELS if name in bare), None)
    joined = of_label is None and label != "none" and bare[of_image] in _JOINED
    return Columns(of_image, of_runs, of_label, len(header), joined)


def _find(
    header: Sequence[str],
    bare: Sequence[str],
    path: str,
    option: str,
    given: str,
    known: Sequence[str],
) -> int:
    if given in header:
        return header.index(given)
    number = next((bare.index(name) for name in known if name in bare), None)
    if given or number is None:
        hint = did_you_mean(given, header) if given else f"name it by -o {option}=…"
        wanted = f"the column {given!r}" if given else f"a column for {option.partition('_')[0]}"
        raise SourceError(
            f"{path}: needed {wanted}, found {few(map(repr, header))}" + (hint and f"; {hint}")
        )
    return number
