"""The command ``zarrfeed report``."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 (typer needs it at run time)
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zarrfeed.errors import printable
from zarrfeed.spelling import did_you_mean, plural
from zarrfeed.store.address import local_out
from zarrfeed_convert import text_of_bytes
from zarrfeed_tools.progress import show_progress
from zarrfeed_tools.remote_options import (
    Cache,
    CacheLimit,
    RemoteOptions,
    StorageOptions,
    storage_options_of,
)
from zarrfeed_tools.report.checks import CHECKS, failures
from zarrfeed_tools.report.collection import collect_facts
from zarrfeed_tools.report.summary import summary_lines
from zarrfeed_tools.terminal import console, shown

if TYPE_CHECKING:
    from zarrfeed_tools.report.facts import Report

_CHECK_LINES = "\n".join(f"{name}: {check.help}" for name, check in CHECKS.items())
# Not a docstring, because Python would escape \b, by which click keeps the lines of a paragraph.
_HELP = f"""Say what is in a dataset, and what is wrong with it.

Facts come from the metadata and from what was stored of every sample when it was packed: no image \
or mask is read, and a million samples take seconds. Works on any Zarr group of arrays aligned on \
axis 0, and says what it cannot know of a store that zarrfeed did not pack.

With OUT.html, writes a page of at most 5 MB that needs no other file and no network. It shows the \
same facts, and what is seen in at most 300 samples: pictures with their masks, the distribution \
of intensities in each split, and what is suspicious, such as tiny islands in masks. Of large \
cases only a part is read. An earlier report is replaced, any other file is not.

The exit status is 0 whatever is found, unless --fail-on names checks: then it is 1 if one of them \
finds something or cannot be made, and standard error says what.

[bold]Checks[/]

\b
{_CHECK_LINES}

[bold]Examples[/]

\b
zarrfeed report camvid.zarr
zarrfeed report camvid.zarr camvid.html
zarrfeed report camvid.zarr --json > camvid.json
zarrfeed report camvid.zarr --fail-on leakage,duplicates
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("report", help=_HELP)(_command)


def _command(
    store: Annotated[
        Path, typer.Argument(metavar="STORE[/SPLIT]", help="A dataset, or one split of it.")
    ],
    out: Annotated[
        Path | None,
        typer.Argument(
            metavar="OUT.html", help="Also write a page with pictures.", show_default=False
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print the facts as one JSON object; with OUT.html, those of pixels, too.",
        ),
    ] = False,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CHECK,CHECK",
            help="Checks that must find nothing, such as leakage,duplicates. May be repeated.",
        ),
    ] = None,
    cache: Cache = None,
    cache_limit: CacheLimit = None,
    storage_options: StorageOptions = None,
) -> None:
    """Say what is in a dataset, and what is wrong with it."""
    wanted = _checks_named(fail_on or ())
    if out is not None:
        _require_page(local_out(out, kind="file"))
    remote = RemoteOptions(cache, storage_options_of(storage_options), cache_limit)
    facts = collect_facts(store, remote=remote)
    show = console(quiet=as_json)
    for line in summary_lines(facts):
        show.print(shown(line), soft_wrap=True)
    sampled = None
    if out is not None:
        sampled = _write_page(facts, store, out, remote)
        show.print(
            f"Page with pictures of {plural(sampled['samples'], 'sample')}: [bold]{shown(out)}[/] "
            f"({text_of_bytes(out.stat().st_size)})",
            soft_wrap=True,
        )
    if as_json:
        typer.echo(json.dumps(facts.to_json() | {"sampled": sampled}, allow_nan=False))
    failed = failures(facts, wanted)
    err = console(stderr=True)
    for sentence in failed:
        err.print(f"[bold red]failed:[/] {shown(sentence)}", soft_wrap=True)
    if failed:
        raise typer.Exit(1)


# The page's template takes a while to import, which other commands need not wait for.


def _require_page(out: Path) -> None:
    from zarrfeed_tools.report.page import require_page

    require_page(out)


def _write_page(facts: Report, store: Path, out: Path, remote: RemoteOptions) -> dict[str, Any]:
    """Write the page; return what was seen of the samples that were looked at."""
    from zarrfeed_tools.report.page import write_page
    from zarrfeed_tools.report.sampled import look_at_samples
    from zarrfeed_tools.report.sampled_facts import sampled_facts

    with show_progress("samples") as follow:
        sampled = look_at_samples(facts, store, follow, remote=remote)
    write_page(facts, sampled, out)
    return sampled_facts(sampled)


def _checks_named(texts: list[str] | tuple[()]) -> list[str]:
    """Return names of checks, separated by commas, each once."""
    names = [name.strip().lower().replace("_", "-") for text in texts for name in text.split(",")]
    for name in names:
        if name not in CHECKS:
            hint = did_you_mean(name, CHECKS, otherwise=f"choose of {', '.join(CHECKS)}")
            raise typer.BadParameter(
                printable(f"needed the name of a check, found {name!r}: {hint}"),
                param_hint="--fail-on",
            )
    return list(dict.fromkeys(names))
