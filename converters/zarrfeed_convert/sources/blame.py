"""Which input is to blame for an error, and which make no sample because of one?"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Let every failure to read something name it, whatever a library raises."""
    try:
        yield
    except SourceError:
        raise
    except Exception as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise SourceError(
            f"{name}: cannot be read: {said}; the file is missing or damaged: restore it, or "
            "take it out"
        ) from error


def blamed(error: SourceError, paths: Sequence[str]) -> tuple[str, str]:
    """Say which of some files an error is about, or a slice of which, and what it says of it.

    Examples
    --------
    >>> blamed(SourceError("b.nii[z=3]: is damaged"), ["a.nii", "b.nii"])
    ('b.nii[z=3]', 'is damaged')
    """
    said = str(error)
    for path in paths:
        if said.startswith(f"{path}: "):
            return path, said.removeprefix(f"{path}: ")
        if said.startswith(f"{path}[") and "]: " in said:
            place, _, why = said[len(path) :].partition("]: ")
            return f"{path}{place}]", why
    return paths[0], said


def require_any(places: Sequence[object], left_out: Sequence[tuple[str, str]]) -> None:
    """Refuse a dataset of which nothing is left to pack.

    Raises
    ------
    SourceError
        There is no sample; it says why the first input makes none.
    """
    if places:
        return
    if not left_out:
        raise SourceError("needed samples to pack, found none: every slice was left out as empty")
    more = f"; {len(left_out)} inputs make no sample" if len(left_out) > 1 else ""
    raise SourceError(f"{': '.join(left_out[0])}{more}")
