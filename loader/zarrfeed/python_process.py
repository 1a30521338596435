"""How is another process of this Python started, with the same zarrfeed?"""

from __future__ import annotations

import sys
from pathlib import Path

# Imports the same zarrfeed as this process, without adding its folder to the path. What is imported
# stays: to look through it for garbage, again and again, would take a tenth of the time.
_START = """
import gc, sys
gc.disable()
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
spec = spec_from_file_location("zarrfeed", sys.argv[2])
sys.modules["zarrfeed"] = package = module_from_spec(spec)
spec.loader.exec_module(package)
main = import_module(sys.argv[1]).main
gc.freeze()
gc.enable()
main(*sys.argv[3:])
"""
_PACKAGE = Path(__file__).with_name("__init__.py")


def command_of(module: str, *arguments: object) -> list[str]:
    """Return the command that calls ``main`` of a module of zarrfeed in a new process.

    Parameters
    ----------
    module
        Full name of the module.
    arguments
        What ``main`` gets, as text. Any user of the machine can see it.
    """
    return [sys.executable, *_flags(), "-c", _START, module, str(_PACKAGE), *map(str, arguments)]


def _flags() -> list[str]:
    """Return Python's flags that keep the process from importing more than this one would."""
    if sys.flags.isolated:
        return ["-I"]
    return ["-P", *["-E"][: sys.flags.ignore_environment], *["-s"][: sys.flags.no_user_site]]
