"""Which commands are there, and how do they end?

Every command has a module that registers it with the application. Exit statuses are 0 for success,
1 for a problem with the data or a failed run, 2 for wrong usage, and 130 for Ctrl-C (by typer).
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, cast

import typer
from typer.core import TyperGroup
from typer.main import get_command

from zarrfeed import __version__
from zarrfeed.errors import ZarrfeedError, look_up
from zarrfeed_convert import begin_supervised
from zarrfeed_tools.terminal import NEWLINE, console, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

_PREFIX = "Value error, "  # typer's validator puts this before each message


# In the order of `zarrfeed --help`. Each has a module, named like it.
COMMANDS = (
    "convert",
    "formats",
    "repack",
    "copy",
    "verify",
    "inspect",
    "preview",
    "report",
    "bench",
    "evaluate",
    "predict",
    "demo",
)


class _Commands(TyperGroup):
    """The commands. Errors in options are shown without typer's prefix.

    A command is imported when it is used: all of them together take longer than most runs.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.commands = cast("Any", dict.fromkeys(COMMANDS))  # typer lists and suggests the names

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """Return a command; None if there is none of this name."""
        return command(cmd_name) if cmd_name in self.commands else None

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix(_PREFIX)
            raise


@cache
def command(name: str) -> Any:
    """Return one of :data:`COMMANDS`, imported."""
    alone = typer.Typer(add_completion=False, rich_markup_mode="rich")
    import_module(f"zarrfeed_tools.{name}_command").register(alone)
    return get_command(alone)


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


def main() -> None:
    """Run the command in a supervised process, and exit with its status."""
    run(begin_supervised())


def run(arguments: Sequence[str]) -> NoReturn:
    """Run the command in this process, and exit with its status.

    Parameters
    ----------
    arguments
        The command line without the name of the program.
    """
    status = 0
    try:
        app(list(arguments), prog_name="zarrfeed", standalone_mode=True)
    except (ZarrfeedError, OSError) as error:  # OSError: a full disk, a read-only folder
        _print_error(_output_error(error) if _is_from_printing(error) else error)
        status = 1
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    sys.exit(_flushed(status))


def _print_error(error: ZarrfeedError | OSError) -> None:
    with suppress(OSError):  # standard error is closed or full
        err = console(stderr=True)
        topic = look_up("disk-space") if _is_full(error) else ""
        err.print(f"[bold red]error:[/] {shown(error, keep=NEWLINE)}{topic}", soft_wrap=True)
        for note in getattr(error, "__notes__", ()):
            err.print(shown(note, keep=NEWLINE), soft_wrap=True)


def _is_full(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def _output_error(error: Exception) -> OSError:
    number, reason = getattr(error, "errno", None), getattr(error, "strerror", "")
    return OSError(number, reason, "standard output")


def _is_from_printing(error: BaseException) -> bool:
    """Whether an error was raised while something was printed."""
    frames = traceback.extract_tb(error.__traceback__)
    return isinstance(error, OSError) and any(
        package in Path(frames[-1].filename).parts for package in ("rich", "click", "typer")
    )


def _flushed(status: int) -> int:
    """Flush the output streams, and report if that fails."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            with suppress(OSError, ValueError):  # otherwise Python tries again when it exits
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            if stream is sys.stdout:
                _print_error(_output_error(error))
                status = status or 1
    return status
