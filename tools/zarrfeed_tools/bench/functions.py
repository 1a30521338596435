"""Import a function by ``module:function``."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable


def find_function(text: str, *, option: str) -> Callable[..., Any]:
    """Import a function. Modules in the current folder are found, as by ``python -m``.

    Parameters
    ----------
    text
        ``module:function``. Both parts may have dots.
    option
        The option of the command line, for error messages.

    Raises
    ------
    typer.BadParameter
        `text` has another form, or there is no such module or function, or the module cannot be
        imported, or the object is not callable.

    Examples
    --------
    >>> find_function("zarrfeed_tools.augment:flip", option="--transform").__name__
    'flip'
    """
    module_name, _, name = text.partition(":")
    if not module_name or not name:
        raise typer.BadParameter(
            f"needed MODULE:FUNCTION, like augment:flip, found {text!r}", param_hint=option
        )
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    found: Any = _imported(module_name, option)
    for part in name.split("."):
        if not hasattr(found, part):
            raise typer.BadParameter(
                f"no {part!r} in {getattr(found, '__name__', found)} "
                f"({getattr(found, '__file__', 'built in')}), which {text!r} needs",
                param_hint=option,
            )
        found = getattr(found, part)
    if not callable(found):
        raise typer.BadParameter(
            f"needed a function, found {text!r}, a {type(found).__name__}", param_hint=option
        )
    return found  # type: ignore[no-any-return]


def _imported(name: str, option: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        itself = name == missing or name.startswith(f"{missing}.")
        what = "" if itself else f", which {name!r} imports"
        raise typer.BadParameter(
            f"no module {missing!r}{what}; looked for it in {Path.cwd()} and in what this Python "
            "has installed",
            param_hint=option,
        ) from error
    except Exception as error:  # the user's module may raise anything
        raise typer.BadParameter(
            f"importing {name!r} raised {error!r}", param_hint=option
        ) from error
