"""The command ``zarrfeed report``."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 (typer needs it at run time)
from typing import Annotated

import typer

from zarrfeed_tools.report.collection import collect_facts

# Not a docstring, because Python would escape \b, by which click keeps the lines of a paragraph.
_HELP = """Say what is in a dataset, and what is wrong with it.

[bold]Example[/]

\b
zarrfeed report camvid.zarr --json > camvid.json
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
) -> None:
    """Say what is in a dataset, and what is wrong with it."""
    facts = collect_facts(store)
    if as_json:
        typer.echo(json.dumps(facts.to_json(), allow_nan=False))
