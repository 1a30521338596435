"""Which samples are in the way of a conversion, and does that end it?"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from zarrfeed.errors import SourceError, ZarrfeedError, printable
from zarrfeed.spelling import few

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

OnError: TypeAlias = Literal["stop", "skip"]
_DAMAGE = (LookupError, TypeError, AttributeError, ArithmeticError, ValueError, RecursionError)
_SAY_LITTLE = (LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)


class Failed(NamedTuple):
    """A sample that cannot be packed.

    Attributes
    ----------
    item
        Which of the source's samples.
    name
        The file that is to blame.
    why
        What is wrong with it, in a sentence that names it.
    """

    item: int
    name: str
    why: str


class SamplesError(SourceError):
    """Samples that cannot be packed; found by one task, or by all that ran.

    Parameters
    ----------
    found
        In the order of the samples.
    """

    def __init__(self, found: Iterable[Failed]) -> None:
        self.found = tuple(found)
        super().__init__(self.found)

    def __str__(self) -> str:
        """Give the first message as it is, then the files."""
        first = self.found[0].why
        files = list(dict.fromkeys(failed.name for failed in self.found))
        if len(files) == 1:
            return first
        return printable(
            f"{first}; {len(files)} files failed so far, there may be more: "
            f"{few(files, counted=True)}"
        )


class Failures:
    """The samples that cannot be packed: the one place that knows whether they end a conversion.

    Parameters
    ----------
    on_error
        ``stop``: the first failure is raised. ``skip``: all are collected, one per sample.
    """

    def __init__(self, on_error: OnError) -> None:
        self.on_error: OnError = on_error
        self._of: dict[int, Failed] = {}

    @property
    def items(self) -> frozenset[int]:
        """The samples that failed."""
        return frozenset(self._of)

    @property
    def found(self) -> list[Failed]:
        """What failed and why, in the order of the samples."""
        return [self._of[item] for item in sorted(self._of)]

    def add(
        self,
        found: Iterable[Failed],
        *,
        summary: str | None = None,
        cause: Exception | None = None,
    ) -> None:
        """Take note of failures, or raise them.

        Parameters
        ----------
        found
            What failed.
        summary
            How to say it where it ends the conversion; by default as each sample says it.
        cause
            What was raised first, where it is known here.

        Raises
        ------
        SourceError
            There are any, and they end the conversion.
        """
        found = list(found)
        if found and self.on_error == "stop":
            error = SamplesError(found) if summary is None else SourceError(summary)
            error.add_note("--on-error skip leaves out what cannot be packed, and records it")
            raise error from cause
        for failed in found:
            self._of.setdefault(failed.item, failed)


@contextmanager
def split_errors(place: object) -> Iterator[None]:
    """Let what a packed split says of itself be damaged in any way: the error names the split."""
    try:
        yield
    except _DAMAGE as error:
        if isinstance(error, ZarrfeedError | UnicodeEncodeError):
            raise
        raise SourceError(
            f"{place}: what it says of itself cannot be understood ({error!r:.200}); restore its "
            "zarr.json, or pack it anew"
        ) from error


def unreadable(name: str, error: Exception) -> SourceError:
    """Say of an error by a decoder, or by the system, what could not be read."""
    said = " ".join(str(error).split())
    if isinstance(error, _SAY_LITTLE):
        said = f"{type(error).__name__}: {said}".removesuffix(": ")
    return SourceError(
        f"{name}: cannot be read: {said or type(error).__name__}; the file is missing or damaged: "
        "restore it, or take it out"
    )
