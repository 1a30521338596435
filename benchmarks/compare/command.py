"""What the commands that measure have in common: where samples come from, where findings go."""

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
        Of a command.
    lines
        The file that findings are written to, unless the user says another.
    """
    parser.add_argument("--images", help="folder of pictures to crop from; made ones without it")
    parser.add_argument("--masks", help="folder of their masks, of the same names")
    parser.add_argument("--cache", type=Path, help="folder that keeps samples and stores")
    parser.add_argument(
        "--lines",
        type=Path,
        default=Path(lines),
        metavar="FILE",
        help=f"where findings are written down, one JSON line each ({lines})",
    )


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse the command line; images and masks belong together."""
    options = parser.parse_args()
    if (options.images is None) != (options.masks is None):
        parser.error("--images and --masks belong together")
    return options


@contextmanager
def places(
    options: argparse.Namespace,
) -> Iterator[tuple[Path, Callable[[dict[str, Any]], None]]]:
    """Open what :func:`add_places` names: the folder for samples, and a function that writes down.

    A finding is on the disk as soon as it is known: a run that is broken off has lost nothing.
    """
    with (
        tempfile.TemporaryDirectory() as temporary,
        options.lines.open("w", encoding="utf-8") as lines,
    ):

        def note(found: dict[str, Any]) -> None:
            print(json.dumps(found), file=lines, flush=True)

        yield (options.cache or Path(temporary)).resolve(), note


def say(text: str) -> None:
    """Tell a person what happens."""
    print(text, file=sys.stderr, flush=True)
