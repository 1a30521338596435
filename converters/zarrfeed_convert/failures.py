"""Which samples cannot be packed, and does that end the conversion?"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from zarrfeed.errors import SourceError, ZarrfeedError, look_up, printable, topic_last
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
        Index of the sample in the source.
    name
        Name of the damaged file.
    why
        Error message, which begins with the name.
    """

    item: int
    name: str
    why: str


class SamplesError(SourceError):
    """Samples that cannot be packed, from one task or from all that ran.

    Parameters
    ----------
    found
        The failures, in the order of the samples.
    complete
        Whether all samples were tried.
    """

    def __init__(self, found: Iterable[Failed], complete: bool = False) -> None:
        self.found, self.complete = tuple(found), complete
        super().__init__(self.found, complete)

    def __str__(self) -> str:
        """Return the first message, and the names of all samples if there are several."""
        first = self.found[0].why
        count = len({failed.item for failed in self.found})
        names = list(dict.fromkeys(failed.name for failed in self.found))
        if len(names) == 1:
            return topic_last(first)
        samples = f"{count} sample{'s' if count > 1 else ''} failed"
        more = "" if self.complete else " so far, there may be more"
        return topic_last(printable(f"{first}; {samples}{more}: {few(names, counted=True)}"))


class Failures:
    """Collects the samples that cannot be packed, and decides whether they end the conversion.

    Parameters
    ----------
    on_error
        ``stop``: failures are raised as an error. ``skip``: they are collected, one per sample.
    samples
        Number of samples; None if unknown. If all of them fail, skipping them is no advice.
    can_skip
        Whether the user may choose to skip samples.
    """

    def __init__(
        self, on_error: OnError, samples: int | None = None, *, can_skip: bool = True
    ) -> None:
        self.on_error: OnError = on_error
        self._samples, self._can_skip = samples, can_skip
        self._of: dict[int, Failed] = {}

    @property
    def items(self) -> frozenset[int]:
        """Indices of the samples that failed."""
        return frozenset(self._of)

    @property
    def found(self) -> list[Failed]:
        """The failures, in the order of the samples."""
        return [self._of[item] for item in sorted(self._of)]

    def add(
        self,
        found: Iterable[Failed],
        *,
        summary: str | None = None,
        complete: bool = False,
        cause: Exception | None = None,
    ) -> None:
        """Collect failures, or raise them.

        Parameters
        ----------
        found
            The failures.
        summary
            Message if they end the conversion; by default that of the first failure.
        complete
            Whether all samples were tried.
        cause
            The first exception, if it was raised in this process.

        Raises
        ------
        SourceError
            There are failures, and `on_error` is ``stop``.
        """
        found = list(found)
        if found and self.on_error == "stop":
            error = SamplesError(found, complete) if summary is None else SourceError(summary)
            if self._can_skip and len({failed.item for failed in found}) != self._samples:
                error.add_note("--on-error skip leaves out samples that cannot be packed")
            raise error from cause
        for failed in found:
            self._of.setdefault(failed.item, failed)


@contextmanager
def split_errors(place: object) -> Iterator[None]:
    """Turn errors due to damaged metadata of a packed split into a `SourceError` that names it."""
    try:
        yield
    except _DAMAGE as error:
        if isinstance(error, ZarrfeedError | UnicodeEncodeError):
            raise
        raise SourceError(
            f"{place}: needed the metadata of a packed split, found damaged ones ({error!r:.200}); "
            "restore its zarr.json, or pack it anew"
        ) from error


def unreadable(name: str, error: Exception) -> SourceError:
    """Return the error for an input that a decoder or the operating system could not read."""
    said = " ".join(str(error).split())
    if isinstance(error, _SAY_LITTLE):
        said = f"{type(error).__name__}: {said}".removesuffix(": ")
    return SourceError(
        f"{name}: cannot be read: {said or type(error).__name__}; the file is missing or damaged: "
        "restore it, or take it out"
        f"{look_up('damaged-file')}"
    )
