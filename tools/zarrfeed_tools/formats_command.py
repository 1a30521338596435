"""The command ``zarrfeed formats``."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from zarrfeed_convert import OptionError
from zarrfeed_tools.explanation import Explanation, FormatOption, FormatRow, explain, list_formats
from zarrfeed_tools.tables import table_of
from zarrfeed_tools.terminal import NEWLINE, console, shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console


# Not a docstring, whose line breaks typer would keep.
_HELP = """List the formats that zarrfeed convert reads, or explain the options of one.

Without NAME, lists all formats, and how to install those that need further packages. With NAME, \
explains what this format reads, and each of its options.

[bold]Example[/]

zarrfeed formats tfrecord
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("formats", help=_HELP)(formats)


def formats(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="The format to explain; all by default.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the same as JSON.")] = False,
) -> None:
    """List the formats that zarrfeed convert reads, or explain the options of one."""
    if name is None:
        rows = list_formats()
        if as_json:
            typer.echo(json.dumps([asdict(row) for row in rows]))
        else:
            _show_rows(rows, console())
        return
    try:
        explanation = explain(name)
    except OptionError as error:
        raise typer.BadParameter(str(error), param_hint="NAME") from error
    if as_json:
        typer.echo(json.dumps(asdict(explanation)))
    else:
        _show_explanation(explanation, console())


def _show_rows(rows: Iterable[FormatRow], out: Console) -> None:
    table = table_of("format", "what it is", "--field", "extra", "installed")
    for row in rows:
        installed = f"no: {row.missing}" if row.missing else "yes"
        name = f"[bold]{row.name}[/]"
        table.add_row(
            name, shown(row.summary), "yes" if row.fields else "", row.extra, shown(installed)
        )
    out.print(table)
    out.print("zarrfeed formats NAME explains a format; zarrfeed convert --format NAME reads it.")


def _show_explanation(explanation: Explanation, out: Console) -> None:
    for paragraph in explanation.about:
        out.print(f"{shown(paragraph, keep=NEWLINE)}\n", soft_wrap=NEWLINE in paragraph)
    out.print(
        f"[bold]Usage[/]\n\n  {shown(_folded(explanation.usage), keep=NEWLINE)}\n", soft_wrap=True
    )
    table = table_of("option", "default", "meaning")
    for option in explanation.options:
        flags = "\n".join(map(shown, option.flags))
        table.add_row(
            f"[bold]{flags}[/]", shown(_defaults(option), keep=NEWLINE), shown(option.help)
        )
        table.add_section()
    out.print(table)
    if explanation.examples:
        out.print(
            f"[bold]In Python[/]\n\n{shown(explanation.examples, keep=NEWLINE)}\n", soft_wrap=True
        )


def _folded(parts: Iterable[str]) -> str:
    """Write a command line over several lines, with backslashes for the shell."""
    return " \\\n    ".join(parts)


def _defaults(option: FormatOption) -> str:
    return "\n".join(
        "required" if default is None else _text(default) for default in option.defaults
    )


def _text(default: str | int | float) -> str:
    """Write a value as in ``-o NAME=VALUE``."""
    return {True: "yes", False: "no"}[default] if isinstance(default, bool) else str(default)
