"""Which members of WebDataset's tars are a sample, and how is any of them read?"""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.errors import SourceError
from zarrfeed.spelling import few
from zarrfeed_convert.decoding.limits import Limits
from zarrfeed_convert.source import Source
from zarrfeed_convert.sources.read_errors import naming_errors, source_errors
from zarrfeed_convert.sources.records.embedded import (
    HEAD,
    EmbeddedImage,
    measure_head,
)
from zarrfeed_convert.sources.records.tars import (
    Member,
    fields_of,
    find_tars,
    names_of_tars,
    samples_of_tar,
)
from zarrfeed_convert.sources.value_options import ValueOptions, require_no_masks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from zarrfeed_convert.decoding.pixels import Color, Measure
    from zarrfeed_convert.mask_map import MaskMap
    from zarrfeed_convert.source import JSON, Header, Image, Mask

_IMAGES = "jpg;jpeg;png;webp;tif;tiff;bmp;npy;image.jpg;image.png;image.npy"
_MASKS = "mask.png;seg.png;label.png;cls.png;mask.tif;seg.tif;mask.npy;seg.npy;png;npy"


@source_errors
class WebDatasetTars(Source):
    """Tar files as WebDataset has them: files of one name, but for what follows its first dot.

    ::

        shard-000.tar:  0001.jpg  0001.seg.png  0001.json  0002.jpg  0002.seg.png  …

    Parameters
    ----------
    images
        A tar, a folder of them, a glob, or WebDataset's ranges: ``shard-{000..017}.tar``. They
        must not be compressed.
    masks
        Not needed.
    image, mask
        What follows the first dot of the names of images and of masks; of several, the first
        that a sample has. Image files and ``.npy`` arrays; arrays of other numbers than uint8 and
        uint16 become float32.
    color
        ``auto`` keeps the channels that the files have; ``grey``, ``rgb``, ``rgba`` convert.
    mask_map
        What mask values mean, like ``255=1,*=0`` or ``#FF0000=1``.
    limits
        What files may claim, and name besides themselves; see :class:`zarrfeed_convert.Limits`.

    Raises
    ------
    SourceError
        A tar is missing, compressed or damaged, or no sample has both an image and a mask.

    Examples
    --------
    >>> WebDatasetTars("shard-{000..017}.tar", mask="seg.png")  # doctest: +SKIP
    """

    def __init__(
        self,
        images: str | os.PathLike[str],
        masks: str | os.PathLike[str] = "",
        *,
        image: str = _IMAGES,
        mask: str = _MASKS,
        color: Color = "auto",
        mask_map: str | MaskMap = "",
        limits: Limits | None = None,
    ) -> None:
        require_no_masks(os.fspath(masks), "the tars of --images")
        self._options = ValueOptions.of(color, mask_map)
        self._limits = limits or Limits()
        self._tars = find_tars(os.fspath(images))
        self.left_out = left_out = list[tuple[str, str]]()
        self._keys: list[str] = []
        self._members: list[tuple[str, str]] = []
        places: list[tuple[int, int, int, int, int]] = []
        fields = Counter[str]()
        wanted = _fields("image", image), _fields("mask", mask)
        for number, path in enumerate(self._tars):
            samples = samples_of_tar(path)
            fields.update(fields_of(samples))
            for key, members in samples.items():
                pair = choose(members, *wanted)
                if isinstance(pair, str):
                    left_out.append((f"{path}/{key}", pair))
                    continue
                one, other = pair
                self._keys.append(key)
                self._members.append((one.name, other.name))
                places.append((number, one.offset, one.size, other.offset, other.size))
        if not places:
            raise SourceError(_nothing(os.fspath(images), wanted, fields))
        self._places = np.array(places, np.int64)
        if len(set(self._keys)) < len(self._keys):
            names = names_of_tars(self._tars)
            self._keys = [
                f"{names[place[0]]}/{key}" for place, key in zip(places, self._keys, strict=True)
            ]
        shown = dict(sorted(fields.most_common(10)))
        self._facts = {"tars": len(self._tars), "fields": shown}

    @property
    def keys(self) -> Sequence[str]:
        """WebDataset's keys; with the tar's name in front where several tars have the same."""
        return self._keys

    def describe(self) -> JSON:
        """Describe where the samples come from, as JSON."""
        return {
            "kind": "webdataset",
            **self.arguments,
            **self._options.describe(),
            "facts": self._facts,
        }

    def names(self, sample: int) -> tuple[str, str]:
        """Name a sample's two files, as if the tar were a folder."""
        tar = self._tars[self._places[sample, 0]]
        image, mask = self._members[sample]
        return f"{tar}/{image}", f"{tar}/{mask}"

    def probe(self, sample: int) -> Header:
        """Read the headers of a sample's two files."""
        image, mask = (self._measure(sample, which) for which in (0, 1))
        return self._options.header(image, mask, name=self.names(sample)[0])

    def read(self, sample: int) -> tuple[Image, Mask]:
        """Decode a sample."""
        name = self.names(sample)[0]
        return self._options.image(self._file(sample, 0).pixels(), name=name), self.read_mask(
            sample
        )

    def read_mask(self, sample: int) -> Mask:
        """Decode a sample's mask."""
        return self._file(sample, 1).ids(self._options)

    def shown_colors(self, sample: int) -> dict[int, int]:
        """Return what the palette of a sample's mask shows where it is used."""
        return self._file(sample, 1).shown_colors(self._options)

    def _file(self, sample: int, which: int) -> EmbeddedImage:
        name = self.names(sample)[which]
        return EmbeddedImage(self._bytes(sample, which, name), name, self._limits)

    def _measure(self, sample: int, which: int) -> Measure:
        name = self.names(sample)[which]
        found = measure_head(self._bytes(sample, which, name, HEAD), name, self._limits)
        return found or self._file(sample, which).measure()

    def _bytes(self, sample: int, which: int, name: str, most: int | None = None) -> bytes:
        """Read the contents of a sample's image (0) or mask (1), or their beginning."""
        place = self._places[sample].tolist()
        offset, size = place[1 + 2 * which : 3 + 2 * which]
        wanted = size if most is None else min(size, most)
        with naming_errors(name), Path(self._tars[place[0]]).open("rb") as tar:
            tar.seek(offset)
            data = tar.read(wanted)
            if len(data) != wanted:
                raise EOFError(f"its tar ends after {len(data)} of its {wanted} bytes")
        return data


def choose(
    members: Mapping[str, Member], images: Sequence[str], masks: Sequence[str]
) -> tuple[Member, Member] | str:
    """Choose a sample's image and mask, or say why it has none.

    Parameters
    ----------
    members
        The sample's, by field.
    images, masks
        Fields to choose from, the first that is there; what is the image is not the mask.
    """
    image = next((field for field in images if field in members), None)
    mask = next((field for field in masks if field in members and field != image), None)
    if image is not None and mask is not None:
        return members[image], members[mask]
    lacks = "no mask" if image else "no image" if mask else "neither image nor mask"
    return f"it has {lacks}; its files are {few(sorted(members))}"


def _fields(option: str, text: str) -> tuple[str, ...]:
    fields = tuple(part.lower().lstrip(".") for part in re.split(r"[;,\s]+", text) if part)
    if not fields:
        raise SourceError(
            f"option {option}: needed what follows the first dot of file names, "
            f"like {'seg.png' if option == 'mask' else 'jpg;png'}, found {text!r}"
        )
    return fields


def _nothing(where: str, wanted: tuple[Sequence[str], Sequence[str]], fields: Counter[str]) -> str:
    counted = few(f"{field} ({count})" for field, count in fields.most_common())
    found = f"found files {counted}" if counted else "found no files"
    return (
        f"{where}: needed samples with an image ({'; '.join(wanted[0])}) and a mask "
        f"({'; '.join(wanted[1])}), {found}; say with the options image and mask which they are"
    )
