"""Which input does an error concern, and how do sources name it?"""

from __future__ import annotations

import os
from contextlib import contextmanager
from functools import wraps
from inspect import Signature, signature
from typing import TYPE_CHECKING, Any, TypeVar

from zarrfeed.errors import SourceError, ZarrfeedError
from zarrfeed.spelling import named
from zarrfeed.store.address import local_path
from zarrfeed_convert.extra_fields import describe_fields, parse_fields
from zarrfeed_convert.failures import unreadable
from zarrfeed_convert.regridded import RegriddedSource
from zarrfeed_convert.sources.file_discovery import hidden_files
from zarrfeed_convert.sources.option_checks import NO_MASKS
from zarrfeed_convert.supervision.board import marked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from zarrfeed_convert.source import JSON, Source

Kind = TypeVar("Kind", bound="Source")
# Arguments that came later; at their defaults they are not recorded, so that conversions begun
# without them go on.
_LATER = ("as_", "geometry", "fill", "instances", "w0", "sigma")


@contextmanager
def naming_errors(name: str) -> Iterator[None]:
    """Turn any exception of a library into a `SourceError` that names what was read."""
    try:
        with marked(name):
            yield
    except ZarrfeedError:
        raise
    except Exception as error:
        raise unreadable(name, error) from error


def source_errors(kind: type[Kind]) -> type[Kind]:
    """Decorate a source so that it raises only `SourceError`, and each names the input.

    Wraps the constructor, ``probe`` and all that begins with ``read_``. The constructor's
    arguments are kept in ``arguments``, so that no source has to list its options again to describe
    itself.
    """
    opens: Callable[..., None] = vars(kind).get("__init__", kind.__init__)
    takes = signature(opens)

    @named
    @wraps(opens)
    def opened(self: Any, *arguments: Any, **options: Any) -> None:
        given = takes.bind(self, *arguments, **options)
        for name in ("images", "masks"):
            place = given.arguments.get(name)
            if isinstance(place, str | bytes | os.PathLike) and place:
                given.arguments[name] = _checked(os.fsdecode(place), kind)
        extras = parse_fields(given.arguments.get("fields"))
        if extras:
            if not kind.takes_names:
                extras = tuple(each._replace(place=_checked(each.place, kind)) for each in extras)
            given.arguments["fields"] = describe_fields(extras)
        self.opened = (_here(), given.args[1:], given.kwargs)
        self.arguments = _recorded(takes, given.arguments)
        with naming_errors(str(given.arguments["images"])), hidden_files() as hidden:
            opens(*given.args, **given.kwargs)
        if hidden:
            why = f"such as {min(hidden)}: names that begin with a dot; rename files that are data"
            remark = ("hidden files", f"{len(hidden)} passed over", why)
            self.remarks = (*self.remarks, remark)

    setattr(kind, "__init__", opened)  # noqa: B010 (a type checker knows better)
    for name in ("probe", "require_whole", "read", "read_window", "read_mask", "read_mask_window"):
        setattr(kind, name, _named(getattr(kind, name)))
    return kind


def anchored(source: Source) -> Source:
    """Resolve a source's relative paths if the current folder has changed since it was opened.

    Otherwise, the source is returned unchanged, and files keep the names that the user gave.
    """
    there = source.opened[0] if source.opened else ""
    return source if there in ("", _here()) else resolved(source)[0]


def resolved(source: Source) -> tuple[Source, dict[str, str]]:
    """Open a source with absolute paths, if it has relative ones.

    Returns
    -------
    source
        A source that reads the same samples in any current folder.
    places
        Absolute path → path as given.
    """
    there, arguments, options = source.opened or ("", (), {})
    if not there:
        return source, {}
    if isinstance(source, RegriddedSource):
        inner, places = resolved(source.inner)
        return source.over(inner), places
    given = signature(type(source)).bind(*arguments, **options)
    places = {}
    for name in ("images", "masks"):
        place = given.arguments.get(name, "")
        is_label = name == "masks" and source.takes_labels and "." not in place
        if place != NO_MASKS and not is_label and _is_relative(place):
            given.arguments[name] = whole = os.path.join(there, place)  # noqa: PTH118
            places[whole] = place
    extras = list(parse_fields(given.arguments.get("fields")))
    for number, extra in enumerate(extras):
        if not source.takes_names and _is_relative(extra.place):
            whole = os.path.join(there, extra.place)  # noqa: PTH118
            extras[number], places[whole] = extra._replace(place=whole), extra.place
    if extras:
        given.arguments["fields"] = describe_fields(extras)
    return (type(source)(*given.args, **given.kwargs) if places else source), places


def _recorded(takes: Signature, given: Mapping[str, Any]) -> JSON:
    """Return all arguments of a source by name, of those in `_LATER` the ones that were given."""
    recorded = {name: given.get(name, each.default) for name, each in takes.parameters.items()}
    for name in ("self", "limits", *(() if recorded.get("fields") else ("fields",))):
        recorded.pop(name, None)
    for name in _LATER:
        if name in recorded and recorded[name] == takes.parameters[name].default:
            del recorded[name]
    return recorded


def _checked(place: str, kind: type[Source]) -> str:
    """Return a place with ``~`` expanded; raises if it cannot be read."""
    text = os.path.expanduser(place)  # noqa: PTH111
    if "://" in text and not kind.takes_urls:
        local_path(text)  # raises the error; cells.h5:/images is not a URL
    elif not _here():
        local_path(text.partition(":")[0])
    return text


def _is_relative(place: str) -> bool:
    return bool(place) and "://" not in place and not os.path.isabs(place)  # noqa: PTH117


def _here() -> str:
    """Return the current folder; empty if it was deleted."""
    try:
        return os.getcwd()  # noqa: PTH109
    except OSError:
        return ""


def _named(read: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(read)
    def named(self: Any, sample: int, *window: Any, **named_window: Any) -> Any:
        try:
            return read(self, sample, *window, **named_window)
        except ZarrfeedError:
            raise
        except Exception as error:
            raise unreadable(self.names(sample)[0], error) from error

    return named


def place_and_reason(error: SourceError, paths: Sequence[str]) -> tuple[str, str]:
    """Split the message of an error into the file (or slice of it) that it names, and the reason.

    Examples
    --------
    >>> place_and_reason(SourceError("b.nii[z=3]: is damaged"), ["a.nii", "b.nii"])
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


def require_any(
    places: Sequence[object], left_out: Sequence[tuple[str, str]], *, what: str = "slice"
) -> None:
    """Check that a dataset has at least one sample.

    Parameters
    ----------
    places
        The samples.
    left_out
        Inputs that make no sample, as (name, reason).
    what
        What a sample is, where they may be left out as empty.

    Raises
    ------
    SourceError
        There is no sample. The message gives the reason of the first input.
    """
    if places:
        return
    if not left_out:
        raise SourceError(
            f"needed at least one sample, found none: every {what} was left out as empty; leave "
            "out skip_empty, or check that masks have values other than 0"
        )
    more = f"; {len(left_out)} inputs make no sample" if len(left_out) > 1 else ""
    raise SourceError(f"{': '.join(left_out[0])}{more}")
