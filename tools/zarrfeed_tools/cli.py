"""Where does the command begin, and which commands read files that may do harm?

Those work in a process of their own: a decoder that crashes, hangs or takes all memory over a file
ends that one, and the file is named here.
"""

from __future__ import annotations

import os
import sys
from typing import Any

_READING = ("convert", "verify", "repack", "inspect")


def main() -> None:
    """Run the command, and end with its exit status."""
    if sys.modules["__main__"].__spec__ is not None and not sys.flags.safe_path:
        sys.path.append(sys.path.pop(0))  # python -m looks in the current folder first
    for descriptor in range(3):  # a file that got the number of one would take what is printed
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
    """Import the application where it is asked for: the process that only watches needs none."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from zarrfeed_tools.application import app

    return app


if __name__ == "__main__":
    main()
