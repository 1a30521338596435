"""What does the ``dataset.json`` of a medical dataset say: of nnU-Net v2, or of the Decathlon?

Whatever is in it is a claim: each entry is checked for its kind before it is used.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zarrfeed.errors import SourceError
from zarrfeed_convert.decoding.limits import read_text
from zarrfeed_convert.labels import MAX_ID, Labels

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from zarrfeed_convert.decoding.limits import Limits

FILE = "dataset.json"
_IGNORE = "ignore"
_DIGITS = 18  # of the longest number: Python refuses to convert texts of thousands


@dataclass(frozen=True, slots=True)
class LabelNames:
    """The labels of a dataset.

    Attributes
    ----------
    labels
        Names by id, and the ignored id. An id that no entry names alone is named by its number.
    regions
        Name → ids, of entries that stand for several: in nnU-Net, classes that overlap.
    """

    labels: Labels
    regions: Mapping[str, tuple[int, ...]]


class DatasetJson:
    """The entries of a ``dataset.json``.

    Parameters
    ----------
    folder
        The folder of the dataset.

    Attributes
    ----------
    path
        The file.

    Raises
    ------
    SourceError
        There is no such file, or it is no JSON object. The message names folders below that have
        one.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        if not self.path.is_file():
            raise SourceError(_missing(folder))
        try:
            said = json.loads(read_text(self.path))
            json.dumps(said, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:  # which nothing can show or store
            half = ascii(error.object[error.start])
            raise self.error("text in Unicode", f"half a character, {half}") from error
        except (ValueError, RecursionError) as error:
            raise self.error("JSON", str(error)) from error
        if not isinstance(said, dict):
            raise self.error("a JSON object", type(said).__name__)
        self._said: dict[str, Any] = said

    def __contains__(self, name: str) -> bool:
        """Return whether there is an entry of a name."""
        return name in self._said

    def error(self, needed: str, found: object) -> SourceError:
        """Return the error that something else was needed."""
        return SourceError(
            f"{self.path}: needed {needed}, found {str(found)[:200]}; correct the file"
        )

    def text(self, name: str) -> str:
        """Return an entry that is a text."""
        value = self._said.get(name)
        if not isinstance(value, str):
            raise self.error(f"a text as {name!r}", _shown(value))
        return value

    def count(self, name: str) -> int | None:
        """Return an entry that is a number of cases; None if there is none."""
        value = self._said.get(name)
        if value is None:
            return None
        number = _number(value)
        if number is None:
            raise self.error(f"a number as {name!r}", _shown(value))
        return number

    def items(self, name: str) -> list[Any]:
        """Return an entry that is a list."""
        value = self._said.get(name)
        if not isinstance(value, list):
            raise self.error(f"a list as {name!r}", _shown(value))
        return value

    def mapping(self, name: str) -> dict[str, Any]:
        """Return an entry that is an object."""
        value = self._said.get(name)
        if not isinstance(value, dict):
            raise self.error(f"an object as {name!r}", _shown(value))
        return value

    def channels(self, *names: str) -> tuple[str, ...]:
        """Return the names of the channels by number, from the first of some entries that exists.

        Raises
        ------
        SourceError
            Their numbers are not 0, 1, 2, ….
        """
        name = next((name for name in names if name in self), names[0])
        value = self._said.get(name)
        if isinstance(value, list):  # as some write it
            value = dict(enumerate(value))
        if not isinstance(value, dict) or not value:
            raise self.error(f'channels like {{"0": "CT"}} as {name!r}', _shown(value))
        wanted = [str(number) for number in range(len(value))]
        by_number = {str(number): str(channel) for number, channel in value.items()}
        if sorted(by_number) != sorted(wanted):
            raise self.error(f"channels {wanted} as {name!r}", sorted(by_number))
        return tuple(by_number[number] for number in wanted)

    def labels(self) -> LabelNames:
        """Return the labels, which are name → id in nnU-Net v2, and id → name before.

        Names may be digits: where all values are numbers or lists of them, these are the ids.

        Raises
        ------
        SourceError
            A value is no id, or two names have the same.
        """
        by_id: dict[int, str] = {}
        regions: dict[str, tuple[int, ...]] = {}
        said = self.mapping("labels")
        by_name = not all(map(str.isdecimal, said)) or all(map(_is_id, said.values()))
        for key, value in said.items():
            number, name = (value, key) if by_name else (key, value)
            if not isinstance(name, str):
                raise self.error(f"a name of the label {number!r:.80}", _shown(name))
            ids = tuple(self._id(one, name) for one in (number if _is_list(number) else [number]))
            if len(set(ids)) != 1:
                regions[name] = ids
            elif by_id.setdefault(ids[0], name) != name:
                raise self.error(f"one name for label {ids[0]}", f"{by_id[ids[0]]} and {name}")
        named = {number: name for number, name in by_id.items() if name != _IGNORE}
        ignore = next((number for number, name in by_id.items() if name == _IGNORE), None)
        highest = max([*named, *(number for ids in regions.values() for number in ids)], default=-1)
        if highest < 0:
            raise self.error('labels like {"background": 0, "liver": 1}', said)
        names = tuple(named.get(number, str(number)) for number in range(highest + 1))
        return LabelNames(Labels(names, ignore), regions)

    def _id(self, value: Any, name: object) -> int:
        number = _number(value)
        if number is None or number > MAX_ID:
            raise self.error(f"an id within 0 … {MAX_ID} as the label {name!r}", _shown(value))
        return number

    def file(self, place: Any, limits: Limits) -> str:
        """Return the path of a file that the dataset names, relative to its folder.

        Raises
        ------
        SourceError
            It is no path, or outside the folder and not allowed.
        """
        if not isinstance(place, str) or not place or "\0" in place:
            raise self.error("paths of files", _shown(place))
        folder = str(self.path.parent)
        limits.require_own(place, folder, str(self.path))
        if limits.external:
            place = os.path.expandvars(place)  # as nnU-Net does
        return os.path.normpath(os.path.join(folder, place))  # noqa: PTH118


def is_missing(path: str) -> bool:
    """Return whether there is no file of a path, such as one longer than paths may be."""
    return not os.path.isfile(path)  # noqa: PTH113 (Path.is_file raises for those)


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and bool(value)


def _is_id(value: Any) -> bool:
    """Return whether a label is a number, or a list: names are neither."""
    return isinstance(value, int | list)


def _number(value: Any) -> int | None:
    """Return a number that may be written as a text, as some do; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    text = str(value)
    return int(text) if text.isdecimal() and len(text) <= _DIGITS else None


def _shown(value: Any) -> str:
    return "none" if value is None else f"{value!r:.80}"


def _missing(folder: Path) -> str:
    if not folder.is_dir():
        return f"images: needed the folder of a dataset with its {FILE}, found no folder {folder}"
    below = sorted(folder.glob(f"*/{FILE}"))
    advice = "check --images"
    if below:
        advice = f"it lies in {below[0].parent}: give that"
    elif (folder.parent / FILE).is_file():
        advice = f"it lies in {folder.parent}: give that"
    return f"{folder}: needed a dataset with its {FILE}, found none; {advice}"
