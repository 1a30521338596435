"""Which commands are there, and how do they end?

A command's module registers it; here it only becomes part of the whole. Exit status 0: done;
1: the data or the run failed; 2: wrong usage; 130: Ctrl-C (by typer).
"""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from zarrfeed import __version__
from zarrfeed.errors import ZarrfeedError
from zarrfeed_convert import begin_supervised
from zarrfeed_tools import (
    bench_command,
    convert_command,
    demo_command,
    formats_command,
    inspect_command,
    repack_command,
    verify_command,
)
from zarrfeed_tools.terminal import NEWLINE, console, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

_PREFIX = "Value error, "  # which typer's validator puts before each message


class _Commands(TyperGroup):
    """The commands; what they refuse is said without words of typer's insides."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix(_PREFIX)
            raise


app = typer.Typer(
    cls=_Commands,
    name="zarrfeed",
    help="Pack images and masks once, feed every Keras epoch at memory speed.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"zarrfeed {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Pack images and masks once, feed every Keras epoch at memory speed."""


for command in (
    convert_command,
    formats_command,
    repack_command,
    verify_command,
    inspect_command,
    bench_command,
    demo_command,
):
    command.register(app)


def main() -> None:
    """Run the command under supervision, and end with its exit status."""
    run(begin_supervised())


def run(arguments: Sequence[str]) -> NoReturn:
    """Run the command in this process, and end with its exit status."""
    status = 0
    try:
        app(list(arguments), prog_name="zarrfeed", standalone_mode=True)
    except (ZarrfeedError, OSError) as error:  # OSError: a full disk, a read-only folder
        _say(_of_output(error) if _prints(error) else error)
        status = 1
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    sys.exit(_flushed(status))


def _say(error: ZarrfeedError | OSError) -> None:
    with suppress(OSError):  # nobody listens
        err = console(stderr=True)
        err.print(f"[bold red]error:[/] {shown(error, keep=NEWLINE)}", soft_wrap=True)
        for note in getattr(error, "__notes__", ()):
            err.print(shown(note, keep=NEWLINE), soft_wrap=True)


def _of_output(error: Exception) -> OSError:
    return OSError(getattr(error, "errno", None), getattr(error, "strerror", ""), "what is printed")


def _prints(error: BaseException) -> bool:
    """Tell whether an error came as something was to be printed."""
    frames = traceback.extract_tb(error.__traceback__)
    return isinstance(error, OSError) and any(
        package in Path(frames[-1].filename).parts for package in ("rich", "click", "typer")
    )


def _flushed(status: int) -> int:
    """Write what is still to be printed, and say where that cannot be."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            with suppress(OSError, ValueError):  # else Python tries once more, as it ends
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            if stream is sys.stdout:
                _say(_of_output(error))
                status = status or 1
    return status
