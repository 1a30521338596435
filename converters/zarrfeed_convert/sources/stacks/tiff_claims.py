"""Do the texts in a TIFF promise more pages than a stack can have, or pages of other files?

tifffile makes room for every page that OME's XML, ImageJ's or its own text promises, and opens the
files that the XML names, before anybody can look at what it found.
"""

from __future__ import annotations

import re
from math import prod
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from zarrfeed.errors import SourceError

if TYPE_CHECKING:
    import tifffile

_MOST_PAGES = 1 << 20
_LONGEST = 64 << 20  # characters: as much as is parsed of a text
_COUNTS = re.compile(r"(?:images|slices|frames|channels)=(\d+)")


def require_own_pages(tiff: tifffile.TiffFile, path: str) -> None:
    """Refuse a TIFF whose texts promise too many pages, or pages of other files.

    Raises
    ------
    SourceError
        They do. A stack that goes on in other files has to be saved as one, whatever is allowed.
    """
    ome = tiff.ome_metadata
    if ome is not None:
        _require_own_ome(ome, path)
    text = tiff.pages.first.description if len(tiff.pages) else ""
    for found in _COUNTS.findall(text[:_LONGEST]):
        _require_few(int(found), path)
    for shaped in tiff.shaped_metadata or ():
        shape = shaped.get("shape", ())
        page = tiff.pages.first.size or 1
        _require_few(prod(map(int, shape)) // page, path)


def _require_own_ome(text: str, path: str) -> None:
    if len(text) > _LONGEST:
        raise SourceError(
            f"{path}: needed an OME description of at most {_LONGEST} characters, found "
            f"{len(text)}; split the file"
        )
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return  # tifffile takes it for a plain TIFF then
    own = {root.attrib.get("UUID")}
    for element in root.iter():
        kind = element.tag.rpartition("}")[2]
        if kind == "Pixels":
            sizes = [int(element.attrib.get(f"Size{axis}", 1)) for axis in "CZT"]
            _require_few(prod(sizes), path)
        elif kind == "TiffData":
            named = [element.attrib.get(name, 0) for name in ("PlaneCount", "NumPlanes")]
            _require_few(sum(map(int, named)), path)
        elif kind == "UUID" and element.text not in own and _is_other(element, path, own):
            raise SourceError(
                f"{path}: needed a stack in one file, found one that goes on in others "
                f"({element.attrib.get('FileName')}); save it as one file"
            )


def _is_other(uuid: ElementTree.Element, path: str, own: set[str | None]) -> bool:
    """Tell whether a plane is in another file; one of this name is in this one."""
    same = uuid.attrib.get("FileName", "").lower() == re.split(r"[/\\]", path)[-1].lower()
    if same and own == {None}:
        own.add(uuid.text)
    return not (same and uuid.text in own)


def _require_few(pages: int, path: str) -> None:
    if pages > _MOST_PAGES or pages < 0:
        raise SourceError(
            f"{path}: needed at most {_MOST_PAGES} pages, found a claim of {pages}; split the file"
        )
