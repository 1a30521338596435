"""Options that all measuring commands share: the origin of samples, and the output of results."""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator


def add_places(parser: argparse.ArgumentParser, *, lines: str) -> None:
    """Add ``--images``, ``--masks``, ``--cache`` and ``--lines``.

    Parameters
    ----------
    parser
        Parser of a command.
    lines
        Default file for the results.
    """
    parser.add_argument(
        "--images", help="folder of pictures to crop from (default: generated pictures)"
    )
    parser.add_argument("--masks", help="folder of their masks with the same names")
    parser.add_argument("--cache", type=Path, help="folder in which to keep samples and stores")
    parser.add_argument(
        "--lines",
        type=Path,
        default=Path(lines),
        metavar="FILE",
        help=f"output file of results, one JSON line each ({lines})",
    )


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse the command line. Images and masks must be given together."""
    options = parser.parse_args()
    if (options.images is None) != (options.masks is None):
        parser.error("--images and --masks belong together")
    return options


@contextmanager
def places(
    options: argparse.Namespace,
) -> Iterator[tuple[Path, Callable[[dict[str, Any]], None]]]:
    """Open what the options of :func:`add_places` name.

    Yields
    ------
    folder
        Folder for samples and stores.
    note
        Function that writes a result at once, so that an interrupted run loses nothing.
    """
    with (
        tempfile.TemporaryDirectory() as temporary,
        options.lines.open("w", encoding="utf-8") as lines,
    ):

        def note(found: dict[str, Any]) -> None:
            print(json.dumps(found), file=lines, flush=True)

        yield (options.cache or Path(temporary)).resolve(), note


def say(text: str) -> None:
    """Print progress on standard error."""
    print(text, file=sys.stderr, flush=True)
