"""From which addresses did the originals in a cache come? Splits record these, not the cache.

Beside each folder of originals is the address of what it holds::

    CACHE/originals/images-3f8a…/
    CACHE/originals/images-3f8a….url     s3://bucket/cells/images
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zarrfeed.store.address import remote_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from zarrfeed_convert.source import JSON

_FETCHED = re.compile(r"/.*?/originals/[A-Za-z0-9.-]*-[0-9a-f]{8}(?![^/:])", re.DOTALL)
_LONGEST = 4096


def note_address(folder: Path, url: str) -> None:
    """Write down the address of what a folder of originals holds, without a password in it."""
    _beside(folder).write_text(without_password(url), "utf-8")


def without_password(url: str) -> str:
    """Return an address without the user and the password that it may have.

    Examples
    --------
    >>> without_password("https://me:secret@host/cells.tif")
    'https://host/cells.tif'
    """
    return re.sub(r"(?<=://)[^/]*@", "", url)


def with_addresses(description: JSON) -> JSON:
    """Return the description of a split with addresses in the place of folders of originals.

    Parameters
    ----------
    description
        Anything whose entry ``source`` describes a source; see
        :meth:`zarrfeed_convert.source.Source.describe`.
    """
    known = {}
    for text in _texts(description.get("source")):
        found = _FETCHED.search(text)
        url = _noted(Path(found[0])) if found else None
        if found and url is not None:
            known[found[0]] = url
    replaced: JSON = _replaced(description, known) if known else description
    return replaced


def _beside(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.url")


def _noted(folder: Path) -> str | None:
    with suppress(OSError, ValueError), _beside(folder).open(encoding="utf-8") as file:
        return remote_url(file.read(_LONGEST))
    return None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)


def _replaced(value: Any, known: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for folder, url in known.items():
            value = value.replace(folder, url)
        return value
    if isinstance(value, dict):
        return {name: _replaced(each, known) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(each, known) for each in value]
    return value
