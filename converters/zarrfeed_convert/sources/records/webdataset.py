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
from zarrfeed.store.schema import IMAGE, MASK
from zarrfeed_convert.decoding.decode import EXTENSIONS
from zarrfeed_convert.decoding.limits import Limits
from zarrfeed_convert.extra_fields import parse_fields
from zarrfeed_convert.sources.read_errors import naming_errors, source_errors
from zarrfeed_convert.sources.records.embedded import (
    HEAD,
    EmbeddedFields,
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
from zarrfeed_convert.sources.value_options import NO_MASKS, ValueOptions, require_no_masks

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from zarrfeed_convert.decoding.pixels import Color, Measure
    from zarrfeed_convert.mask_map import MaskMap
    from zarrfeed_convert.source import JSON

_IMAGES = "jpg;jpeg;png;webp;tif;tiff;bmp;npy;image.jpg;image.png;image.npy"
_MASKS = "mask.png;seg.png;label.png;cls.png;mask.tif;seg.tif;mask.npy;seg.npy;png;npy"


@source_errors
class WebDatasetTars(EmbeddedFields):
    """Tar files as WebDataset has them: files of one name, but for what follows its first dot.

    ::

        shard-000.tar:  0001.jpg  0001.seg.png  0001.json  0002.jpg  0002.seg.png  …

    Parameters
    ----------
    images
        A tar, a folder of them, a glob, or WebDataset's ranges: ``shard-{000..017}.tar``. They
        must not be compressed.
    masks
        Not needed. ``none``: only images are packed.
    image, mask
        What follows the first dot of the names of images and of masks; of several, the first
        that a sample has. Image files and ``.npy`` arrays. `mask` empty: ``mask.png``,
        ``seg.png``, ``label.png``, ``cls.png``, some of these as ``tif`` or ``npy``, or ``png`` or
        ``npy`` beside the image; where no sample has one of them, or another image file, only
        images are packed.
    fields
        Name → ``ROLE:SUFFIX`` of further fields, like ``{"depth": "target:depth.npy"}``. Role
        ``image``: read as images are; ``mask``: as masks are; ``target``: any numbers, which stay
        as they are.
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
        mask: str = "",
        fields: Mapping[str, str] | None = None,
        color: Color = "auto",
        mask_map: str | MaskMap = "",
        limits: Limits | None = None,
    ) -> None:
        self._options = ValueOptions.of(color, mask_map)
        extras = parse_fields(fields)
        wanted = self._masks_wanted(os.fspath(masks), extras, mask=mask)
        if wanted is not False:
            require_no_masks(os.fspath(masks), "the tars of --images")
        self._limits = limits or Limits()
        self._tars = find_tars(os.fspath(images))
        of_extras = {field.name: _suffixes(f"field {field.name}", at) for field, at in extras}
        taken = {suffix for suffixes in of_extras.values() for suffix in suffixes}
        choices = {IMAGE: _suffixes("option image", image, () if image != _IMAGES else taken)}
        if wanted is not False:
            choices[MASK] = _suffixes("option mask", mask or _MASKS, () if mask else taken)
        choices |= of_extras
        counts = Counter[str]()
        found: list[tuple[int, str, dict[str, Member], str]] = []
        for number, path in enumerate(self._tars):
            samples = samples_of_tar(path)
            counts.update(fields_of(samples))
            for key, members in samples.items():
                chosen = choose(members, choices)
                others = few(sorted(members)) if len(chosen) < len(choices) else ""
                found.append((number, key, chosen, others))
        if wanted is None and not any(MASK in chosen for _, _, chosen, _ in found):
            used = {chosen[IMAGE].field for _, _, chosen, _ in found if IMAGE in chosen}
            _require_no_other(os.fspath(images), used, taken, counts)
            del choices[MASK]
        self._set_fields(extras, mask=mask or _MASKS if MASK in choices else "")
        self.left_out = left_out = list[tuple[str, str]]()
        self._keys: list[str] = []
        self._members: list[tuple[str, ...]] = []
        places: list[list[int]] = []
        for number, key, chosen, others in found:
            lacks = [name for name in choices if name not in chosen]
            if lacks:
                why = f"it has no {' and no '.join(lacks)}; its files are {others}"
                left_out.append((f"{self._tars[number]}/{key}", why))
                continue
            parts = [chosen[name] for name in choices]
            self._keys.append(key)
            self._members.append(tuple(part.name for part in parts))
            places.append([number, *(n for part in parts for n in (part.offset, part.size))])
        if not places:
            raise SourceError(_nothing(os.fspath(images), choices, counts))
        self._places = np.array(places, np.int64)
        if len(set(self._keys)) < len(self._keys):
            names = names_of_tars(self._tars)
            self._keys = [
                f"{names[place[0]]}/{key}" for place, key in zip(places, self._keys, strict=True)
            ]
        shown = dict(sorted(counts.most_common(10)))
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

    def names(self, sample: int) -> tuple[str, ...]:
        """Name a sample's files, as if the tar were a folder."""
        tar = self._tars[self._places[sample, 0]]
        return tuple(f"{tar}/{member}" for member in self._members[sample])

    def _values(self, sample: int, fields: Sequence[int]) -> Iterator[EmbeddedImage]:
        names = self.names(sample)
        for field in fields:
            data = self._bytes(sample, field, names[field])
            yield EmbeddedImage(data, names[field], self._limits)

    def _measured_file(self, sample: int, field: int) -> Measure | None:
        name = self.names(sample)[field]
        return measure_head(self._bytes(sample, field, name, HEAD), name, self._limits)

    def _bytes(self, sample: int, field: int, name: str, most: int | None = None) -> bytes:
        """Read the contents of one of a sample's files, or their beginning."""
        tar, *places = self._places[sample].tolist()
        offset, size = places[2 * field : 2 * field + 2]
        wanted = size if most is None else min(size, most)
        with naming_errors(name), Path(self._tars[tar]).open("rb") as file:
            file.seek(offset)
            data = file.read(wanted)
            if len(data) != wanted:
                raise EOFError(f"its tar ends after {len(data)} of its {wanted} bytes")
        return data


def choose(
    members: Mapping[str, Member], choices: Mapping[str, Sequence[str]]
) -> dict[str, Member]:
    """Choose a sample's files, one for each field that it has.

    Parameters
    ----------
    members
        The sample's, by suffix.
    choices
        Suffixes to choose from, by field: the first that is there and not of an earlier field.
    """
    chosen: dict[str, Member] = {}
    left = dict(members)
    for field, suffixes in choices.items():
        suffix = next((suffix for suffix in suffixes if suffix in left), None)
        if suffix is not None:
            chosen[field] = left.pop(suffix)
    return chosen


def _require_no_other(
    where: str, used: Collection[str], taken: Collection[str], counts: Counter[str]
) -> None:
    """Refuse samples without masks whose masks may have other suffixes, or other keys.

    Parameters
    ----------
    where
        The tars, for errors.
    used, taken
        Suffixes of images, and those of other fields.
    counts
        How often there is each suffix.
    """
    pictures = {suffix for suffix in counts if f".{suffix}".endswith((*EXTENSIONS, ".npy"))}
    if used and len(pictures.union(used).difference(taken)) > 1:
        raise SourceError(
            f"{where}: needed masks beside the images, found files {_counted(counts)}; say by "
            "-o image=SUFFIX and -o mask=SUFFIX which they are, or pack images alone by "
            f"--masks {NO_MASKS}"
        )


def _suffixes(said_by: str, text: str, but_not: Collection[str] = ()) -> tuple[str, ...]:
    suffixes = [part.lower().lstrip(".") for part in re.split(r"[;,\s]+", text) if part]
    if not suffixes:
        raise SourceError(
            f"{said_by}: needed what follows the first dot of file names, like seg.png or jpg;png, "
            f"found {text!r}"
        )
    return tuple(suffix for suffix in suffixes if suffix not in but_not)


def _counted(counts: Counter[str]) -> str:
    return few(f"{suffix} ({count})" for suffix, count in counts.most_common())


def _nothing(where: str, choices: Mapping[str, Sequence[str]], counts: Counter[str]) -> str:
    needed = " and ".join(f"{field} ({'; '.join(suffixes)})" for field, suffixes in choices.items())
    found = f"found files {_counted(counts)}" if counts else "found no files"
    return (
        f"{where}: needed samples with {needed}, {found}; say with the options image and mask "
        "which they are"
    )
