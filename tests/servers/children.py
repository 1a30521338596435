"""Server processes that end with the tests, however these end."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


@contextmanager
def child(
    command: Sequence[str], environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Run a command that ends once its standard input has a line, or is closed.

    A test process that is killed closes it. One that goes on writes a line, because a process that
    it forked meanwhile may have the pipe open.
    """
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            yield process
        finally:
            try:
                process.communicate("\n", timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
