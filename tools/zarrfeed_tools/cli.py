"""The entry point of the command.

Commands that read untrusted files run in a supervised process. If a decoder crashes, hangs or takes
all memory because of a file, only that process ends, and the supervisor names the file.
"""

from __future__ import annotations

import os
import sys
from typing import Any

_READING = ("convert", "verify", "repack", "inspect", "evaluate", "report", "preview")


def main() -> None:
    """Run the command, and exit with its status."""
    if sys.modules["__main__"].__spec__ is not None and not sys.flags.safe_path:
        sys.path.append(sys.path.pop(0))  # python -m puts the current folder first
    # If a standard stream is closed, the next opened file would get its number and its output.
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    arguments = sys.argv[1:]
    if arguments and arguments[0] in _READING:
        from zarrfeed_convert import supervise

        sys.exit(supervise("zarrfeed_tools.application", arguments))
    from zarrfeed_tools.application import run

    run(arguments)


def __getattr__(name: str) -> Any:
    """Import the application only when it is used, because the supervisor does not need it."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from zarrfeed_tools.application import app

    return app


if __name__ == "__main__":
    main()
