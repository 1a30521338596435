"""WebDataset tars as a source: a sample per key."""

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
from zarrfeed_convert.sources.option_checks import (
    NO_MASKS,
    require_no_masks,
    resembles_mask,
)
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
from zarrfeed_convert.sources.value_options import ValueOptions

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from zarrfeed_convert.decoding.pixels import Color, Measure
    from zarrfeed_convert.mask_map import MaskMap
    from zarrfeed_convert.source import JSON

_IMAGES = "jpg;jpeg;png;webp;tif;tiff;bmp;npy;image.jpg;image.png;image.npy"
_MASKS = "mask.png;seg.png;label.png;cls.png;mask.tif;seg.tif;mask.npy;seg.npy;png;npy"


@source_errors
class WebDatasetTars(EmbeddedFields):
    """WebDataset tars, in which the files of a sample share their name up to its first dot.

    ::

        shard-000.tar:  0001.jpg  0001.seg.png  0001.json  0002.jpg  0002.seg.png  …

    Parameters
    ----------
    images
        A tar, a folder of tars, a glob, or WebDataset's ranges: ``shard-{000..017}.tar``. Tars
        must not be compressed.
    masks
        Not needed. ``none``: pack images alone.
    image, mask
        Suffixes of the images and of the masks: the part of the name after its first dot. Of
        several, the first that a sample has. Files are images or ``.npy`` arrays. `mask`
        empty: ``mask.png``, ``seg.png``, ``label.png``, ``cls.png``, some of these as ``tif`` or
        ``npy``, or a ``png`` or ``npy`` beside the image. If no sample has any of these, nor
        another image file, nor a file named like a mask, images are packed alone.
    fields
        Further fields: name → ``ROLE:SUFFIX``, like ``{"depth": "target:depth.npy"}``. The role
        ``image`` is read as the images are, ``mask`` as the masks are; ``target`` keeps its
        numbers.
    color
        ``auto`` keeps the channels of the files; ``grey``, ``rgb`` and ``rgba`` convert them.
    mask_map
        The meaning of mask values, like ``255=1,*=0`` or ``#FF0000=1``.
    limits
        Limits on what the files may claim; see :class:`zarrfeed_convert.Limits`.

    Raises
    ------
    SourceError
        A tar is missing, compressed or damaged, or no sample has all fields.

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
        """WebDataset's keys, preceded by the name of the tar if tars share keys."""
        return self._keys

    def describe(self) -> JSON:
        """Describe the tars as JSON, so that they can be opened again."""
        return {
            "kind": "webdataset",
            **self.arguments,
            **self._options.describe(),
            "facts": self._facts,
        }

    def names(self, sample: int) -> tuple[str, ...]:
        """Name the files of a sample as if the tar were a folder."""
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
        """Read a file of a sample, or its beginning."""
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
    """Choose the files of a sample, one for each field that it has.

    Parameters
    ----------
    members
        The members of the sample by suffix.
    choices
        Field → suffixes, of which the first is chosen that the sample has and that no earlier
        field has taken.
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
    """Raise if masks could have other suffixes than the usual ones, or other keys than images.

    Parameters
    ----------
    where
        The tars, for errors.
    used, taken
        Suffixes of the images; suffixes of further fields.
    counts
        The number of files with each suffix.
    """
    possible = {
        suffix
        for suffix in counts
        if f".{suffix}".endswith((*EXTENSIONS, ".npy")) or resembles_mask(suffix)
    }
    if used and len(possible.union(used).difference(taken)) > 1:
        raise SourceError(
            f"{where}: needed masks beside the images, found files {_counted(counts)}; name "
            "them with -o image=SUFFIX and -o mask=SUFFIX, or pack images alone with "
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
