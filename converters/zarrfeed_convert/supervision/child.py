"""How does this process start a child process that ends when it ends?

The child searches modules where this process does, except in the current folder and beside the
script: a ``random.py`` in a downloaded dataset must not be executed. It never imports ``__main__``.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import sysconfig
import threading
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_KILL = 9


def start(
    module: str,
    *arguments: str,
    descriptors: Iterable[int],
    users_modules: bool = False,
    environment: Mapping[str, str] | None = None,
    stdin: int | None = None,
) -> subprocess.Popen[bytes]:
    """Start a process that calls ``main()`` of a module.

    Parameters
    ----------
    module, arguments
        Name of the module, and ``sys.argv[1:]`` of the process.
    descriptors
        File descriptors that it inherits.
    users_modules
        Whether it may also import the user's modules. Their folders are searched last.
    environment
        Variables to add to those of this process.
    stdin
        See :class:`subprocess.Popen`.

    Raises
    ------
    OSError
        The process cannot be started.
    """
    path = module_path(users_modules=users_modules)
    script = f"import sys; sys.path[:] = {path!r}; from {module} import main; main()"
    return subprocess.Popen(
        [sys.executable, "-P", "-c", script, *arguments],
        pass_fds=tuple(descriptors),
        env={**os.environ, **(environment or {})},
        stdin=stdin,
    )


def module_path(*, users_modules: bool) -> list[str]:
    """Return the ``sys.path`` of a child; see :func:`start`."""
    foreign = {_real("")}
    main = sys.modules["__main__"]
    if getattr(main, "__file__", None) and main.__spec__ is None:  # a script, no python -m
        foreign.add(_real(str(Path(str(main.__file__)).parent)))
    foreign -= {_real(folder) for folder in sysconfig.get_paths().values()}
    packages = {_root(name) for name in ("zarrfeed", "zarrfeed_convert")}
    places = {entry: _real(entry) for entry in sys.path}
    known = [entry for entry, place in places.items() if entry and place not in foreign]
    late = [
        place
        for entry, place in places.items()
        if entry not in known and place and (users_modules or place in packages)
    ]
    return [*known, *late]


def _real(entry: str) -> str:
    """Resolve an entry of ``sys.path``; empty if the current folder was deleted."""
    try:
        return os.path.realpath(entry)
    except OSError:
        return ""


def _root(package: str) -> str:
    """Return the folder of `sys.path` that contains a package."""
    found = find_spec(package)
    assert found is not None
    assert found.origin is not None
    return os.path.realpath(Path(found.origin).parents[1])


def end_with_parent(descriptor: int) -> None:
    """End this process when its parent ends.

    Parameters
    ----------
    descriptor
        Pipe or socket whose other end the parent holds.
    """
    with suppress(Exception):  # on Linux, also if a library never releases the interpreter lock
        import ctypes

        ctypes.CDLL(None).prctl(1, _KILL)
    threading.Thread(target=_follow, args=(descriptor,), daemon=True).start()


def _follow(descriptor: int) -> None:
    watch = select.poll()
    watch.register(descriptor, 0)  # a hang-up is always reported
    watch.poll()
    os._exit(1)
