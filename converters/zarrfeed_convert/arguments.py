"""Are the arguments of the public functions of the right kind and in their range?"""

from __future__ import annotations

import functools
import math
from numbers import Real
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from zarrfeed.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

P = ParamSpec("P")
T = TypeVar("T")


def refusing(**former: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Decorate a function: arguments of earlier versions are errors that say what to do instead.

    Parameters
    ----------
    former
        Name of an argument → the message.

    Examples
    --------
    >>> @refusing(quality="quality: images are kept as they are; leave it out")
    ... def pack(out): ...
    >>> pack("city.zarr", quality=90)
    Traceback (most recent call last):
        ...
    zarrfeed.errors.SourceError: quality: images are kept as they are; leave it out
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> T:
            for name in former.keys() & kwargs.keys():
                raise SourceError(former[name])
            return function(*args, **kwargs)

        return checked

    return decorate


def require_choice(what: str, value: object, choices: Sequence[object]) -> None:
    """Refuse a value that is not among the choices."""
    if value not in choices:
        raise SourceError(f"{what}: needed one of {tuple(choices)}, found {value!r:.60}")


def require_whole(what: str, value: object, *, least: int, most: int | None = None) -> None:
    """Refuse what is no int, or out of range; None is accepted.

    Examples
    --------
    >>> require_whole("seed", "3", least=0)
    Traceback (most recent call last):
        ...
    zarrfeed.errors.SourceError: seed: needed an int, found str '3'
    """
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        raise SourceError(f"{what}: needed an int, found {_shown(value)}")
    if most is not None and not least <= value <= most:
        raise SourceError(f"{what}: needed an id within {least} … {most}, found {value}")
    if value < least:
        raise SourceError(f"{what}: needed at least {least}, found {value}")


def require_size(what: str, value: object) -> None:
    """Refuse what is no size of images or volumes; None is accepted."""
    if value is None:
        return
    if not isinstance(value, tuple | list) or len(value) not in (2, 3):
        raise SourceError(
            f"{what}: needed (height, width) or (depth, height, width), like (256, 256), found "
            f"{_shown(value)}"
        )
    for extent in value:
        require_whole(what, extent, least=1)


def unlisted(size: Any) -> Any:
    """Return a list, as JSON has it, as a tuple."""
    return tuple(size) if isinstance(size, list) else size


def require_number(what: str, value: object) -> None:
    """Refuse what is no finite number; None is accepted."""
    if value is not None and not (isinstance(value, Real) and math.isfinite(value)):
        raise SourceError(f"{what}: needed a finite number, found {_shown(value)}")


def require_spacing(value: object) -> tuple[float, ...] | None:
    """Return the spacing of voxels along D, H and W in mm; None is accepted.

    Raises
    ------
    SourceError
        `value` is no sequence of three positive numbers.

    Examples
    --------
    >>> require_spacing([1.5, 1, 1])
    (1.5, 1.0, 1.0)
    """
    if value is None:
        return None
    numbers = list(value) if isinstance(value, tuple | list) else []
    if len(numbers) != 3 or not all(
        isinstance(each, Real) and not isinstance(each, bool) and 0 < float(each) < math.inf
        for each in numbers
    ):
        raise SourceError(
            "spacing: needed three positive numbers, the distance of voxels along D, H and W in "
            f"mm, like (1.5, 1, 1), or median or keep; found {_shown(value)}"
        )
    return tuple(map(float, numbers))


def require_seconds(what: str, value: object) -> None:
    """Refuse what is no positive number of seconds."""
    if not isinstance(value, int | float) or not value > 0:
        raise SourceError(f"{what}: needed more than 0 seconds, found {_shown(value)}")


def _shown(value: object) -> str:
    return f"{type(value).__name__} {value!r:.60}"
