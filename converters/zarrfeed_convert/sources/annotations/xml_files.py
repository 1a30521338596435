"""How is an XML file of unknown origin parsed?

The only module that imports defusedxml, which comes with Datumaro. Entities, which expand to any
size or read other files, are refused.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from zarrfeed_convert.sources.read_errors import naming_errors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from xml.etree.ElementTree import Element

    from zarrfeed_convert.decoding.limits import Limits

if find_spec("defusedxml") is None:
    raise ModuleNotFoundError("No module named 'defusedxml'", name="defusedxml")


def parsed_xml(path: Path, limits: Limits) -> Element:
    """Parse a small XML file.

    Raises
    ------
    SourceError
        The file is damaged, has entities, or is larger than a sample may be.
    """
    from defusedxml.ElementTree import parse

    with naming_errors(str(path)):
        limits.require_readable(path)
        tree: Any = parse(path)
        root: Element = tree.getroot()
        return root


def elements_of(path: Path, limits: Limits) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the name and the attributes of each element of a file, in their order.

    Raises
    ------
    SourceError
        As for :func:`parsed_xml`.
    """
    from defusedxml.ElementTree import iterparse

    with naming_errors(str(path)):
        limits.require_readable(path)
        events: Any = iterparse(path, events=("start", "end"))
        for event, element in events:
            if event == "start":
                yield element.tag, dict(element.attrib)
            else:
                element.clear()  # of a file of gigabytes, only what is open is kept
