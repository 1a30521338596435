"""Which image file does a table mean by a name, with or without folder and extension?"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from zarrfeed_convert.decoding.decode import EXTENSIONS
from zarrfeed_convert.sources.file_discovery import composed, without_extension

if TYPE_CHECKING:
    from collections.abc import Sequence

_SEVERAL = -1


class ImageNames:
    """Image files by all names that tables give them.

    Parameters
    ----------
    files
        Paths below the folder of images, with slashes.

    Examples
    --------
    >>> names = ImageNames(["a/1.png", "a/2.png", "b/2.png"])
    >>> names.find("1"), names.find("2.png"), names.find("b/2"), names.find("3")
    (0, -1, 2, None)
    """

    def __init__(self, files: Sequence[str]) -> None:
        self._by_name: tuple[dict[str, int], ...] = ({}, {}, {}, {})
        for number, file in enumerate(map(composed, files)):
            name = PurePosixPath(file).name
            forms = (
                file,
                without_extension(file, EXTENSIONS),
                name,
                without_extension(name, EXTENSIONS),
            )
            for known, form in zip(self._by_name, forms, strict=True):
                known[form] = number if known.get(form, number) == number else _SEVERAL

    def find(self, name: str) -> int | None:
        """Return the number of a file; -1 if the name fits several, None if it fits none."""
        text = composed(name.replace("\\", "/"))
        for form in dict.fromkeys((text, text.rpartition("/")[2])):
            for known in self._by_name:
                if form in known:
                    return known[form]
        return None
