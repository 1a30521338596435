"""Find the rows, nulls and class names of Parquet files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import islice, product
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from zarrfeed.errors import SourceError
from zarrfeed.spelling import few
from zarrfeed_convert.sources.file_discovery import list_files
from zarrfeed_convert.sources.item_index import ItemIndex
from zarrfeed_convert.sources.name_pairs import in_order_of
from zarrfeed_convert.sources.read_errors import naming_errors, place_and_reason
from zarrfeed_convert.sources.records.parquet_claims import Group, read_groups
from zarrfeed_convert.sources.records.row_groups import RowPlace, block_nbytes, require_affordable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    import pyarrow as pa

    from zarrfeed_convert.decoding.limits import Limits

EXTENSIONS = (".parquet", ".pq")

_BUFFER = 1 << 16  # bytes to read ahead; without, Arrow fetches a whole row group
_FIRST_ROWS = 64  # of which one should have a text
_MOST_LACKING = 1 << 20  # rows with nulls, which are listed one by one


@dataclass(frozen=True, slots=True)
class Tables:
    """The rows of several files, as the metadata of the files give them.

    Attributes
    ----------
    paths, stems
        The files, and the beginnings of the keys of their rows.
    rows, groups
        The row groups by their rows, and the files by their row groups.
    broken
        Files that cannot be read, each with the reason.
    limits
        Limits on what files may claim.
    """

    paths: tuple[str, ...]
    stems: tuple[str, ...]
    rows: ItemIndex
    groups: ItemIndex
    broken: tuple[tuple[str, str], ...]
    limits: Limits

    @classmethod
    def find(
        cls,
        where: str,
        *,
        what: str,
        columns: Collection[str],
        limits: Limits,
        beside: Sequence[str] = (),
    ) -> Tables:
        """Find the rows of a file, a folder or a glob.

        Parameters
        ----------
        where, what
            As for :func:`~zarrfeed_convert.sources.file_discovery.list_files`.
        columns
            The columns that will be read.
        limits
            Limits on what files may claim.
        beside
            Names of the files that these belong to, one to one.

        Raises
        ------
        SourceError
            There is no row, or the names of some files do not pair.
        """
        files = list_files(where, what=what, extensions=EXTENSIONS)
        files = in_order_of(beside, files) if beside else files
        whole: dict[str, str] = {}
        broken, rows, counts = [], [], []
        for path, stem in files.items():
            try:
                with naming_errors(path):
                    groups = read_groups(path, limits)
                    require_affordable(path, groups, columns, limits)
            except SourceError as error:
                broken.append(place_and_reason(error, [path]))
                continue
            rows += [group.rows for group in groups]
            counts.append(len(groups))
            whole[path] = stem
        if not sum(rows):
            if broken:
                raise SourceError(": ".join(broken[0]))
            raise SourceError(
                f"{what}: needed rows, found no row in {where} ({len(files)} files in all); give "
                "other files"
            )
        limits.require_count(sum(rows), where, "rows")
        return cls(
            paths=tuple(whole),
            stems=tuple(whole.values()),
            rows=ItemIndex.of(rows),
            groups=ItemIndex.of(counts),
            broken=tuple(broken),
            limits=limits,
        )

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.rows)

    def place(self, row: int) -> RowPlace:
        """Return the place of a row."""
        group, number = self.rows.locate(row)
        file, place = self.groups.locate(group)
        return RowPlace(self.paths[file], place, number)

    def key(self, row: int) -> str:
        """Name a row by its file and its number."""
        file, number = self._in_file(row)
        return f"{self.stems[file]}/{number:06}"

    def name(self, row: int, column: str) -> str:
        """Name a cell for a person: file, row and column."""
        file, number = self._in_file(row)
        return f"{self.paths[file]}[row={number}, {column}]"

    def have(self, *columns: str) -> bool:
        """Return whether all files have the columns."""
        return all(set(columns) <= set(schema_of(path).names) for path in self.paths)

    def require(self, column: str, *, option: str) -> None:
        """Raise if a file lacks a column.

        Raises
        ------
        SourceError
            The message lists the columns of the file.
        """
        for path in self.paths:
            schema = schema_of(path)
            if column not in schema.names:
                names = sorted(schema.names)
                raise SourceError(
                    f"{path}: needed the column {column!r}, found {few(names, shown=20)}; "
                    f"name it with {option}COLUMN"
                )

    def values(self, column: str) -> Iterator[object]:
        """Yield the values of a column in all rows."""
        for path in self.paths:
            with naming_errors(path), pq.ParquetFile(path) as file:
                values = file.read(columns=[column]).column(column).to_pylist()
            yield from values

    def first_text(self, column: str) -> str:
        """Return the first text of a column; empty if the first rows have none, or none to read."""
        path = self.place(0).path
        try:
            require_affordable(path, self._groups(path), {column}, self.limits)
            with naming_errors(path), pq.ParquetFile(path, buffer_size=_BUFFER) as file:
                # Row by row, since a few bytes can repeat a long text.
                rows = file.iter_batches(1, columns=[column], use_threads=False)
                cells = (batch.column(column)[0].as_py() for batch in islice(rows, _FIRST_ROWS))
                return next((text for text in cells if text), "")
        except SourceError:  # a column that is not packed may be damaged, or too large
            return ""

    def doubtful_rows(self, column: str) -> list[int]:
        """List the rows of row groups that have nulls in a column, by their statistics."""
        rows: list[int] = []
        for file, path in enumerate(self.paths):
            groups = self._groups(path)
            lacking = sum(min((p.nulls or 0 for p in g.of(column)), default=0) for g in groups)
            if lacking > _MOST_LACKING:
                raise SourceError(
                    f"{path}: needed at most {_MOST_LACKING} rows that hold nothing in {column}, "
                    f"found a claim of {lacking}; leave them out of the table"
                )
            for group, about in zip(self.groups.span(file), groups, strict=True):
                if _lacks(about, column):
                    rows += self.rows.span(group)
        return rows

    def block_nbytes(self, columns: Collection[str]) -> int:
        """Return the total bytes of the largest block of each column."""
        largest = dict.fromkeys(columns, 0)
        for path in self.paths:
            for group, column in product(self._groups(path), largest):
                nbytes = block_nbytes(group, column)
                largest[column] = max(largest[column], nbytes)
        return sum(largest.values())

    def _groups(self, path: str) -> list[Group]:
        with naming_errors(path):
            return read_groups(path, self.limits)

    def _in_file(self, row: int) -> tuple[int, int]:
        file, _ = self.groups.locate(self.rows.locate(row)[0])
        first = self.rows.span(self.groups.span(file).start)
        return file, row - first.start


def schema_of(path: str) -> pa.Schema:
    """Read the schema of a file.

    Raises
    ------
    SourceError
        The file is not a Parquet file.
    """
    with naming_errors(path):
        return pq.read_schema(path)


def classes_of(tables: Tables, column: str) -> tuple[str, ...] | None:
    """Return the class names of a column, as the first file has them."""
    return class_names(schema_of(tables.paths[0]).metadata, column)


def class_names(metadata: Mapping[bytes, bytes] | None, column: str) -> tuple[str, ...] | None:
    """Return the class names that the Hugging Face library stores in the metadata of a table.

    Parameters
    ----------
    metadata
        The metadata of the table's schema.
    column
        The column of the masks: class ids in lists of any depth.

    Examples
    --------
    >>> label = '{"feature": {"names": ["sky", "road"], "_type": "ClassLabel"}, "_type": "List"}'
    >>> class_names({b"huggingface": b'{"info": {"features": {"m": %s}}}' % label.encode()}, "m")
    ('sky', 'road')
    """
    try:
        said = json.loads((metadata or {}).get(b"huggingface", b"{}"))
        feature = said["info"]["features"][column]
        while True:
            if isinstance(feature, list):
                [feature] = feature
            elif feature.get("_type") == "ClassLabel":
                return tuple(map(str, feature["names"]))
            else:
                feature = feature["feature"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _lacks(group: Group, column: str) -> bool:
    """Return whether a row may be null: every leaf of the column has nulls."""
    return all(part.nulls for part in group.of(column))
