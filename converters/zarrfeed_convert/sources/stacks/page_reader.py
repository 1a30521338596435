"""How are pages of TIFF stacks decoded, by their numbers among the samples of a stack?"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeAlias

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.tiff import arrange_page
from zarrfeed_convert.sources.cache import Cache, file_version
from zarrfeed_convert.sources.read_errors import naming_errors
from zarrfeed_convert.sources.stacks.tiff_axes import label_of
from zarrfeed_convert.sources.stacks.tiff_pages import TiffPages
from zarrfeed_convert.sources.values import stacked

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from numpy.typing import NDArray

    from zarrfeed_convert.decoding.limits import Limits
    from zarrfeed_convert.decoding.pixels import Pixels
    from zarrfeed_convert.sources.axes import Axes

_OPEN = 32  # stacks whose pages a process remembers; some 200 KiB for 500 pages
# Converts the decoded pixels of a page, which has a name.
Convert: TypeAlias = "Callable[[Pixels, str], NDArray[Any]]"


class PageReader:
    """Decodes pages of stacks. Picklable and thread-safe; it keeps no file open."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._open: Cache[TiffPages] = Cache(_OPEN)

    def pages(self, path: str) -> TiffPages:
        """Return the pages of a stack, from the cache if the file has not changed."""
        return self._open.get(file_version(path), lambda: TiffPages(path, self._limits))

    def read(self, path: str, axes: Axes, page: int, channel: int) -> Pixels:
        """Decode a page.

        Parameters
        ----------
        path, axes
            The stack, and its axes, of which pages are the samples.
        page
            The number of the page.
        channel
            Its only channel to decode; ``ALL`` for all.
        """
        with closing(self._each(path, axes, [page], channel)) as decoded:
            return next(decoded)[0]

    def read_several(
        self, path: str, axes: Axes, pages: Sequence[int], channel: int, convert: Convert
    ) -> NDArray[Any]:
        """Decode pages one by one, and stack what they are converted to."""
        with closing(self._each(path, axes, pages, channel)) as decoded:
            return stacked((convert(*page) for page in decoded), len(pages))

    def _each(
        self, path: str, axes: Axes, pages: Sequence[int], channel: int
    ) -> Generator[tuple[Pixels, str]]:
        names = [page_name(path, axes, page) for page in pages]
        with naming_errors(names[0]):
            opened = self._opened(path, names[0])
        with opened.reading() as read:
            for page, name in zip(pages, names, strict=True):
                with naming_errors(name):
                    try:
                        values = read(axes.index(page, channel))
                    except SourceError as error:
                        raise _of_page(error, path, name) from error
                    pixels = arrange_page(axes.arrange(values, channel), opened.page)
                yield pixels, name

    def _opened(self, path: str, name: str) -> TiffPages:
        try:
            return self.pages(path)
        except SourceError as error:
            raise _of_page(error, path, name) from error


def page_name(path: str, axes: Axes, page: int) -> str:
    """Name a page, like ``scan.tif[z=12]``."""
    return f"{path}[{label_of(axes, page)}]"


def _of_page(error: SourceError, path: str, name: str) -> SourceError:
    """Let an error that names the file name the page."""
    return SourceError(f"{name}: {str(error).removeprefix(f'{path}: ')}")
