"""The command ``zarrfeed report``."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 (typer needs it at run time)
from typing import Annotated

import typer

from zarrfeed.errors import printable
from zarrfeed.spelling import did_you_mean
from zarrfeed_tools.report.checks import CHECKS, failures
from zarrfeed_tools.report.collection import collect_facts
from zarrfeed_tools.report.summary import summary_lines
from zarrfeed_tools.terminal import console, shown

_CHECK_LINES = "\n".join(f"{name}: {check.help}" for name, check in CHECKS.items())
# Not a docstring, because Python would escape \b, by which click keeps the lines of a paragraph.
_HELP = f"""Say what is in a dataset, and what is wrong with it.

Facts come from the metadata and from what was stored of every sample when it was packed: no image \
or mask is read, and a million samples take seconds. Works on any Zarr group of arrays aligned on \
axis 0, and says what it cannot know of a store that zarrfeed did not pack.

The exit status is 0 whatever is found, unless --fail-on names checks: then it is 1 if one of them \
finds something or cannot be made, and standard error says what.

[bold]Checks[/]

\b
{_CHECK_LINES}

[bold]Examples[/]

\b
zarrfeed report camvid.zarr
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
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the facts as one JSON object.")
    ] = False,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CHECK,CHECK",
            help="Checks that must find nothing, such as leakage,duplicates. May be repeated.",
        ),
    ] = None,
) -> None:
    """Say what is in a dataset, and what is wrong with it."""
    wanted = _checks_named(fail_on or ())
    facts = collect_facts(store)
    if as_json:
        typer.echo(json.dumps(facts.to_json(), allow_nan=False))
    else:
        out = console()
        for line in summary_lines(facts):
            out.print(shown(line), soft_wrap=True)
    failed = failures(facts, wanted)
    err = console(stderr=True)
    for sentence in failed:
        err.print(f"[bold red]failed:[/] {shown(sentence)}", soft_wrap=True)
    if failed:
        raise typer.Exit(1)


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
