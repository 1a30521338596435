"""The command ``zarrfeed inspect``."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 (typer needs it at run time)
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zarrfeed.errors import ReadError, StoreError
from zarrfeed.spelling import few, plural, share_text
from zarrfeed_convert import class_cells, field_cells
from zarrfeed_tools.inspection import CaseFacts, SplitFacts, inspect_store
from zarrfeed_tools.remote_options import (
    Cache,
    CacheLimit,
    RemoteOptions,
    StorageOptions,
    storage_options_of,
)
from zarrfeed_tools.report.checks import own_counts
from zarrfeed_tools.report.collection import collect_facts
from zarrfeed_tools.report.summary import finding_lines
from zarrfeed_tools.tables import table_of_cells
from zarrfeed_tools.terminal import console, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

    from zarrfeed.errors import ZarrfeedError
    from zarrfeed_convert import FieldFacts
    from zarrfeed_tools.report.facts import Report


# Not a docstring, whose line breaks typer would keep.
_HELP = """Show what a dataset contains: splits, fields, codecs, bytes, classes and pixel shares.

A chunk is the unit of decoding and a shard is a file; both are counted in rows, which are \
samples. Besides the fields that feed a model, a packed split has descriptive arrays, named below \
the table: key holds the samples' names, digest their checksums, class_pixels the pixels of every \
class, dhash a hash that is nearly the same for images that look alike. Samples of a split of \
cases are tiles; case_key and case_size name the images or volumes and their sizes. A raw field \
can take more on disk than in memory, because Zarr stores whole chunks.

Below the tables, a line for each kind of suspicious samples says how many there are: exact \
duplicates, names in several splits, empty masks, constant images and others. `zarrfeed report` \
names them all, and looks for images that look alike. It takes seconds for a million samples.

Works on any Zarr group of arrays aligned on axis 0, and says which arrays can only be read in \
a slower way.

[bold]Example[/]

zarrfeed inspect camvid.zarr
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("inspect", help=_HELP)(inspect)


def inspect(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="A dataset, or one split of it.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the facts as one JSON array.")
    ] = False,
    cache: Cache = None,
    cache_limit: CacheLimit = None,
    storage_options: StorageOptions = None,
) -> None:
    """Show what a dataset contains: splits, fields, codecs, bytes, classes and pixel shares."""
    remote = RemoteOptions(cache, storage_options_of(storage_options), cache_limit)
    facts, report, problem = _facts_of(store, remote)
    if as_json:
        typer.echo(json.dumps([_json_of(split, report) for split in facts]))
        return
    out = console()
    for split in facts:
        _show(split, out)
    if report is None:
        out.print(f"suspicious samples were not looked for: {shown(problem)}", soft_wrap=True)
        return
    lines = finding_lines(report)
    if lines:
        out.print("[bold]Suspicious[/]")
    for line in lines:
        out.print(f"  {shown(line)}", soft_wrap=True)


def _facts_of(
    store: Path, remote: RemoteOptions
) -> tuple[list[SplitFacts], Report | None, ZarrfeedError | None]:
    """Collect facts; if an array of facts about samples is damaged, those of the metadata alone."""
    try:
        report = collect_facts(store, quick=True, remote=remote)
    except (StoreError, ReadError) as error:
        return inspect_store(store, remote), None, error
    return [split.facts for split in report.splits], report, None


def _json_of(split: SplitFacts, report: Report | None) -> dict[str, Any]:
    """Return the facts of a split, and how many of its samples are suspicious by themselves."""
    own = None
    if report is not None:
        own = next(each for each in report.splits if each.facts is split)
    return split.to_json() | {"suspicious": None if own is None else own_counts(own)}


def _show(split: SplitFacts, out: Console) -> None:
    samples = "arrays of different lengths"
    if split.samples is not None:
        samples = plural(split.samples, "sample" if split.cases is None else "tile")
    out.print(f"[bold]{shown(split.path)}[/]: {samples}", soft_wrap=True)
    if split.cases is not None:
        for line in case_lines(split.cases):
            out.print(line, soft_wrap=True)
    fields = [field for field in split.fields if field.name not in split.descriptive]
    out.print(table_of_cells(field_cells(fields)))
    padded = [field.name for field in fields if _is_padded(field)]
    if padded:
        out.print(
            f"{', '.join(map(shown, padded))}: stored is more than decoded, because the last chunk "
            "is filled with zeros",
            soft_wrap=True,
        )
    if split.descriptive:
        out.print(f"Descriptive arrays: {', '.join(map(shown, split.descriptive))}", soft_wrap=True)
    for name, reason in split.indirect.items():
        out.print(f"{shown(name)}: read in a slower way ({shown(reason)})")
    if split.classes:
        out.print(table_of_cells(class_cells(split.classes, split.fields)))
    skipped = split.packed.get("skipped", ())
    if skipped:
        were = "was" if len(skipped) == 1 else "were"
        out.print(f"{plural(len(skipped), 'input')} {were} skipped when packing; --json lists them")


def case_lines(cases: CaseFacts) -> list[str]:
    """Say how many cases there are, of which sizes and spacings.

    Examples
    --------
    >>> case_lines(CaseFacts(2, (64, 64), ((50, 75, 100), (80, 80, 80)), None, 2))
    ['2 cases of 50…100 × 80 pixels, median 75 × 80, in tiles of 64 × 64, 0% padding']
    """
    unit = "voxels" if len(cases.tile) == 3 else "pixels"
    tile = " × ".join(map(str, cases.tile))
    lines = [f"{plural(cases.cases, 'case')} of {_ranges(cases.size)} {unit}"]
    lines[0] += f"{_medians(cases.size)}, in tiles of {tile}, {share_text(cases.padded)} padding"
    about = []
    if cases.spacing is not None:
        # What a coordinate reference system counts in is part of it; of other images it is unknown.
        millimetres = " mm" if len(cases.tile) == 3 else ""
        about.append(f"spacing {_ranges(cases.spacing)}{millimetres}{_medians(cases.spacing)}")
        if cases.unplaced:
            about.append(f"unknown of {cases.unplaced:,}")
    if cases.resampled is not None:
        about.append(f"resampled to {' × '.join(f'{each:.4g}' for each in cases.resampled)} mm")
    if cases.orient is not None:
        about.append(f"turned to {shown(cases.orient)}")
    if cases.crs:
        about.append(f"in {few(map(shown, cases.crs), shown=3)}")
    return [*lines, *(["; ".join(about)] if about else [])]


def _ranges(extents: Iterable[tuple[float, float, float]]) -> str:
    """Write the range of each axis, or the one value that all cases have."""
    written = [(f"{low:.4g}", f"{high:.4g}") for low, _, high in extents]
    return " × ".join(low if low == high else f"{low}…{high}" for low, high in written)


def _medians(extents: Sequence[tuple[float, float, float]]) -> str:
    """Write the medians, if not all cases have the same values."""
    if all(f"{low:.4g}" == f"{high:.4g}" for low, _, high in extents):
        return ""
    return f", median {' × '.join(f'{middle:.4g}' for _, middle, _ in extents)}"


def _is_padded(field: FieldFacts) -> bool:
    """Whether a field takes more on disk than in memory because its last chunk is not full."""
    return (
        field.codec == "raw"
        and field.shape[0] % field.chunk_rows > 0
        and (field.stored_bytes or 0) > field.decoded_bytes
    )
