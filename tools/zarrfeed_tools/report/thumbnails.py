"""Which pictures does a page show, how large, and in how many bytes?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from zarrfeed.pictures.thumbnails import pick, thumbnail_size
from zarrfeed_tools.report.choice import evenly
from zarrfeed_tools.report.encoding import jpeg_uri, overlay_uri, resized

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zarrfeed_tools.report.choice import Place
    from zarrfeed_tools.report.sample_view import View

_TRIED = 16  # samples by which the bytes of all are estimated
_SMALL = 100  # pixels; smaller pictures are enlarged without blurring


@dataclass(frozen=True, slots=True)
class Fit:
    """How much a page shows, so that it is small enough.

    Attributes
    ----------
    edge
        Longer side of pictures in pixels.
    quality
        Of JPEG.
    pictures
        Number of samples that are shown for their split.
    rows
        Number of rows of a table or list.
    """

    edge: int
    quality: int
    pictures: int
    rows: int


# The first that fits is taken. Pictures get smaller first, then fewer.
FITS = (
    Fit(256, 82, 300, 100),
    Fit(208, 80, 300, 100),
    Fit(176, 76, 300, 100),
    Fit(144, 74, 300, 100),
    Fit(120, 70, 300, 100),
    Fit(96, 66, 300, 100),
    Fit(80, 62, 200, 60),
    Fit(64, 58, 100, 30),
    Fit(48, 50, 24, 10),
    Fit(32, 40, 0, 3),
)


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A picture of a sample as a page shows it.

    Attributes
    ----------
    picture
        Data URI of the image.
    overlay
        Data URI of the colours of its mask; empty if it has none.
    small
        Whether it has few pixels, which are shown as they are.
    """

    picture: Markup
    overlay: Markup
    small: bool


def thumbnails_of(views: Mapping[Place, View], fit: Fit) -> dict[Place, Thumbnail]:
    """Write the pictures of samples as data URIs.

    Parameters
    ----------
    views
        What was seen of the samples. Those that could not be read get no picture.
    fit
        The size and quality of the pictures.
    """
    found = {}
    for place, view in views.items():
        if view.picture is None:
            continue
        size = thumbnail_size(view.picture.shape[:2], fit.edge)
        overlay = Markup() if view.overlay is None else overlay_uri(pick(view.overlay, size))
        picture = jpeg_uri(resized(view.picture, size), quality=fit.quality)
        found[place] = Thumbnail(picture, overlay, max(size) <= _SMALL)
    return found


def fits_from(views: Mapping[Place, View], most_nbytes: int) -> Sequence[Fit]:
    """Return the fits to try, the best first, without those whose pictures are surely too large.

    Parameters
    ----------
    views
        What was seen of the samples.
    most_nbytes
        How large the page may be.
    """
    places = list(views)
    some = {
        places[number]: views[places[number]] for number in evenly(len(places), _TRIED).tolist()
    }
    for number, fit in enumerate(FITS):
        tried = thumbnails_of(some, fit).values()
        nbytes = sum(len(each.picture) + len(each.overlay) for each in tried)
        if nbytes * len(places) <= most_nbytes * len(some):
            return FITS[number:]
    return FITS[-1:]
