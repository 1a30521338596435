"""How do messages list names, and which name did the user mean by a misspelt one?

Pure. The converter uses it, too.
"""

from __future__ import annotations

import difflib
import functools
import inspect
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

P = ParamSpec("P")
T = TypeVar("T")


def few(names: Iterable[str], *, shown: int = 10, joint: str = ", ", counted: bool = False) -> str:
    """List the first few of many names.

    Parameters
    ----------
    names
        All names.
    shown
        How many names to list.
    joint
        Separator.
    counted
        Whether the message already says how many names there are. An ellipsis then stands for the
        rest.

    Examples
    --------
    >>> few(["a", "b", "c", "d"], shown=2)
    'a, b and 2 more'
    >>> few(["a", "b", "c", "d"], shown=2, counted=True)
    'a, b …'
    """
    names = list(names)
    rest = len(names) - shown
    if rest <= 0:
        return joint.join(names)
    return joint.join(names[:shown]) + (" …" if counted else f" and {rest} more")


def plural(count: int, noun: str) -> str:
    """Write a number of things.

    Parameters
    ----------
    count
        The number.
    noun
        What they are, in the singular; the plural is formed with an s.

    Examples
    --------
    >>> plural(1, "case"), plural(12_000, "tile")
    ('1 case', '12,000 tiles')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def share_text(share: float) -> str:
    """Write a share as a percentage, so that a little is not nothing.

    Examples
    --------
    >>> share_text(0.0), share_text(0.001), share_text(0.48)
    ('0%', 'less than 1%', '48%')
    """
    return "less than 1%" if 0 < share < 0.005 else f"{share:.0%}"


def nearest(name: str, names: Iterable[str], *, likeness: float = 0.6) -> str | None:
    """Find the name most similar to a misspelt one, ignoring case.

    Parameters
    ----------
    name
        The misspelt name.
    names
        The valid names.
    likeness
        Minimum similarity, from 0 to 1; see :func:`difflib.get_close_matches`.

    Returns
    -------
    str or None
        None if no name is similar enough.

    Examples
    --------
    >>> nearest("Trian", ["test", "train", "val"])
    'train'
    """
    lower = {known.lower(): known for known in names}
    near = difflib.get_close_matches(name.lower(), lower, 1, likeness)
    return lower[near[0]] if near else None


def did_you_mean(
    name: str, names: Iterable[str], *, otherwise: str = "", likeness: float = 0.6
) -> str:
    """Return a hint that suggests the most similar of some names.

    Parameters
    ----------
    name, names, likeness
        See :func:`nearest`.
    otherwise
        The hint if no name is similar enough.

    Examples
    --------
    >>> did_you_mean("ocoo", ("coco", "voc"))
    "did you mean 'coco'?"
    >>> did_you_mean("x", ("coco", "voc"), otherwise="choose one")
    'choose one'
    """
    near = nearest(name, names, likeness=likeness)
    return f"did you mean {near!r}?" if near else otherwise


def named(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function or a constructor: its ``TypeError`` names it and suggests the argument.

    Examples
    --------
    >>> @named
    ... def pack(out, *, overwrite=False): ...
    >>> pack("city.zarr", overwite=True)
    Traceback (most recent call last):
    TypeError: pack has no argument 'overwite': did you mean 'overwrite'?
    """
    signature = inspect.signature(function)
    names = [name for name in signature.parameters if name != "self"]

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        called = function.__name__
        if called == "__init__":
            called = type(args[0]).__name__
        for name in kwargs:
            if name not in names:
                has = f"it has {', '.join(names)}"
                hint = did_you_mean(name, names, otherwise=has, likeness=0.5)
                raise TypeError(f"{called} has no argument {name!r}: {hint}")
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(
                f"{called}: {error}; the call is {called}({', '.join(names[:2])}, …)"
            ) from None
        return function(*args, **kwargs)

    return checked
