"""Where in a CSV file are the masks of each image?

The file is read once, record by record. Only the positions of records are kept.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed.spelling import few
from zarrfeed_convert.sources.item_index import ItemIndex
from zarrfeed_convert.sources.run_length.cells import is_empty
from zarrfeed_convert.sources.run_length.columns import Columns, columns_of
from zarrfeed_convert.sources.run_length.csv_records import cells_of, delimiter_of, records_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.sources.run_length.image_names import ImageNames

_COUNTED = 1 << 16  # records between two checks of their number
_DECIDING = 1000  # names by which it is decided whether they have classes


@dataclass(frozen=True, slots=True)
class CsvIndex:
    """Index of a CSV file with m masks of n images.

    Attributes
    ----------
    path, delimiter, columns
        Path of the file, sign between its cells, and its columns.
    images
        Number of the image file of each image that the file lists, ascending.
    of_image
        Index of the masks by image.
    spans
        (m, 2) int64 first byte and end of the record of each mask, sorted by image, then in the
        order of the file.
    labels
        (m,) int32 number of the class of each mask, in `classes`.
    classes
        Names of the classes, in the order of first appearance; empty if the file has none.
    unknown
        Names in the file that mean no image, or several, as (name, reason).
    records
        Number of records after the header.
    """

    path: str
    delimiter: str
    columns: Columns
    images: tuple[int, ...]
    of_image: ItemIndex
    spans: NDArray[np.int64]
    labels: NDArray[np.int32]
    classes: tuple[str, ...]
    unknown: tuple[tuple[str, str], ...]
    records: int

    def masks(self, image: int) -> list[tuple[int, str, str]]:
        """Read the masks of the i-th listed image: class, cell of runs, name of the record."""
        found = []
        with Path(self.path).open("rb") as file:
            for mask in self.of_image.span(image):
                begin, end = self.spans[mask].tolist()
                name = f"{self.path}[byte {begin}]"
                file.seek(begin)
                cells = cells_of(file.read(end - begin), self.delimiter, name)
                if len(cells) != self.columns.number:
                    raise SourceError(
                        f"{name}: needed {self.columns.number} cells, as when it was opened, found "
                        f"{len(cells)}; restore the file"
                    )
                found.append((int(self.labels[mask]), cells[self.columns.runs], name))
        return found


def index_csv(
    path: str, names: ImageNames, limits: Limits, *, image: str, runs: str, label: str
) -> CsvIndex:
    """Read a CSV file once, and index it.

    Parameters
    ----------
    path, names, limits
        Path of the file, the image files, and limits of what it may claim.
    image, runs, label
        Names of columns that the user gives; see :func:`columns_of`.

    Raises
    ------
    SourceError
        The file cannot be read, has no such columns, a record has other cells, or no image of it is
        there.
    """
    records = records_of(path)
    header = next(records, None)
    if header is None:
        raise SourceError(f"{path}: needed a header and records, found nothing; check --masks")
    delimiter = delimiter_of(header[2])
    columns = columns_of(
        cells_of(header[2], delimiter, path), path, image=image, runs=runs, label=label
    )
    ids: dict[str, int] = {}
    classes: dict[str, int] = {}
    masks = _Masks()
    count = 0
    for begin, end, record in records:
        count += 1
        if count % _COUNTED == 0:
            limits.require_count(count, path, "records")
        cells = cells_of(record, delimiter, f"{path}[byte {begin}]")
        if len(cells) != columns.number:
            raise SourceError(
                f"{path}[byte {begin}]: needed {columns.number} cells, as the header has, found "
                f"{len(cells)}; correct the file"
            )
        number = ids.setdefault(cells[columns.image], len(ids))
        empty = is_empty(cells[columns.runs])
        of_class = -1
        if columns.label is not None:
            text = _class_text(cells[columns.label])
            if text:
                of_class = classes.setdefault(text, len(classes))
            elif not empty:
                raise SourceError(
                    f"{path}[byte {begin}]: needed a class, found an empty cell; correct the file, "
                    "or use -o class_column=none"
                )
        if not empty:
            masks.add(number, of_class, begin, end)
    joined = columns.label is None and label != "none" and _has_classes(ids, names, columns)
    place, of_name, unknown = _located(ids, names, path, classes if joined else None)
    if not place:
        raise SourceError(
            f"{path}: needed names of the images, found {few(map(repr, ids))}, of which none is a "
            "file there; check --images, or name the column by -o id_column=…"
        )
    return masks.indexed(path, delimiter, columns, place, of_name, tuple(classes), unknown, count)


class _Masks:
    """Collects what the index needs of each mask."""

    def __init__(self) -> None:
        self.name, self.label = array("q"), array("i")
        self.begin, self.end = array("q"), array("q")

    def add(self, name: int, label: int, begin: int, end: int) -> None:
        self.name.append(name)
        self.label.append(label)
        self.begin.append(begin)
        self.end.append(end)

    def indexed(
        self,
        path: str,
        delimiter: str,
        columns: Columns,
        place: Mapping[int, int],
        of_name: NDArray[np.int64],
        classes: tuple[str, ...],
        unknown: tuple[tuple[str, str], ...],
        records: int,
    ) -> CsvIndex:
        """Sort the masks by image.

        Parameters
        ----------
        place
            Number of an image file → its place among those that the file lists.
        of_name
            (names, 2) place of the image that a name in the file means, -1 for none; and its class,
            -1 if names have none.
        """
        name = np.array(self.name, np.int64)
        image, joined = of_name[name, 0], of_name[name, 1]
        labels = np.where(joined >= 0, joined, np.array(self.label, np.int64)).astype(np.int32)
        spans = np.stack([np.array(self.begin, np.int64), np.array(self.end, np.int64)], axis=1)
        order = np.argsort(image, kind="stable")[np.count_nonzero(image < 0) :]
        counts = np.bincount(image[order], minlength=len(place))
        return CsvIndex(
            path,
            delimiter,
            columns,
            tuple(place),
            ItemIndex.of(counts.tolist()),
            spans[order],
            labels[order],
            classes,
            unknown,
            records,
        )


def _class_text(cell: str) -> str:
    """Return the name of a class; pandas writes whole numbers beside empty cells as 1.0."""
    text = "" if cell.lower() == "nan" else cell
    number = text.removesuffix(".0")
    return number if number.isdecimal() else text


def _has_classes(ids: Mapping[str, int], names: ImageNames, columns: Columns) -> bool:
    """Return whether names are those of images and classes, like ``0002cc93b.jpg_1``."""
    some = list(ids)[:_DECIDING]
    alone = sum(names.find(name) is not None for name in some)
    split = sum(names.find(name.rpartition("_")[0]) is not None for name in some)
    return split > alone or (columns.joined and split == alone and split > 0)


def _located(
    ids: Mapping[str, int], names: ImageNames, path: str, classes: dict[str, int] | None
) -> tuple[dict[int, int], NDArray[np.int64], tuple[tuple[str, str], ...]]:
    """Find the image, and with `classes` the class, that each name means.

    Returns
    -------
    place, of_name, unknown
        See :class:`_Masks` and :class:`CsvIndex`.
    """
    of_name = np.full((len(ids), 2), -1, np.int64)
    unknown: dict[str, str] = {}
    for name, number in ids.items():
        image = name
        if classes is not None:
            image, _, label = name.rpartition("_")
            of_name[number, 1] = classes.setdefault(_class_text(label), len(classes))
        found = names.find(image)
        if found is None:
            unknown[image or name] = f"{path} names it, but there is no such image"
        elif found < 0:
            unknown[image] = f"{path} names it, but several images are called so"
        else:
            of_name[number, 0] = found
    listed = {file: at for at, file in enumerate(sorted({*of_name[:, 0].tolist()} - {-1}))}
    of_name[:, 0] = [listed.get(file, -1) for file in of_name[:, 0].tolist()]
    return listed, of_name, tuple(unknown.items())
