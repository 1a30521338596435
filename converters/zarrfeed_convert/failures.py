"""Which samples are in the way of a conversion, when it is more than one?"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from zarrfeed.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_SHOWN = 10  # files that a message names


class SamplesError(SourceError):
    """Samples that cannot be packed; found by one task, or by all that ran.

    Parameters
    ----------
    found
        (file, message) of each, in the order of the samples.
    """

    def __init__(self, found: Iterable[tuple[str, str]]) -> None:
        self.found = tuple(found)
        super().__init__(self.found)

    def __str__(self) -> str:
        """Give the first message as it is, then the files."""
        first = self.found[0][1]
        files = list(dict.fromkeys(name for name, _ in self.found))
        if len(files) == 1:
            return first
        more = " …" if len(files) > _SHOWN else ""
        return (
            f"{first}; {len(files)} files failed so far, there may be more: "
            f"{', '.join(files[:_SHOWN])}{more}"
        )


class Failures:
    """Gathers what is wrong with a task's samples, so that it can go on reading."""

    def __init__(self) -> None:
        self._found: list[tuple[str, str]] = []

    def __bool__(self) -> bool:
        """Tell whether any sample failed."""
        return bool(self._found)

    @contextmanager
    def noted(self, names: tuple[str, str]) -> Iterator[None]:
        """Note a failure to read a sample, whose two files have these names.

        What is noted is not raised; whoever uses the sample looks whether it is there.
        """
        try:
            yield
        except SourceError as error:
            said = str(error)
            name = names[1] if said.startswith(f"{names[1]}:") else names[0]
            self._found.append((name, said))

    def raise_any(self) -> None:
        """Raise :class:`SamplesError` if any sample failed."""
        if self._found:
            raise SamplesError(self._found)
