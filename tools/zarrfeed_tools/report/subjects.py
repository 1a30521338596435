"""Which patient, scene or specimen is an image of, by its name?

Pure functions of names. Images of one subject are alike, so that a split for validation that shares
subjects with the one for training says too little. The rule is conservative: it would rather
overlook a subject than take a number of an image, a date or a place in a grid for one.

A name is divided into parts at everything that is neither a letter nor a digit. The subject is the
name up to the first part that *identifies*, given that a later part has a number, too, which tells
the images of a subject apart: ``patient_07`` of ``patient_07_slice_3``, but nothing of
``image_001``. After a word for subjects, any later part will do: ``patient_07`` of
``patient_07_left``. A part identifies if it has a digit, unless

- all names of the store have it (``BraTS20``), because it tells nothing apart;
- it is a year or a date, alone or after letters (``2007``, ``20190131``, ``train2017``), or what
  follows it of a date or a time;
- it is a number without letters that follows no word, and has less than four digits (``12_3``);
- it is one digit with one or two letters (``S2A``, ``T1w``);
- its letters, or the word before a number alone, name a place in a grid, a size or a part of a
  dataset (``tile_3``, ``x512``, ``1024x768``, ``fold_1``): see :data:`OF_NO_SUBJECT`.

Folders at the front that are named like splits are left out: ``train/p07/3`` is of ``p07``.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

_PART = re.compile(r"[^\W_]+")
_LETTERS = re.compile(r"[^\W\d_]+")
_DATE = re.compile(
    r"[^\W\d_]*(19|20)\d\d"
    r"((0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01]))?"  # a day
    r"([t_]?\d{6}z?)?"  # a time
)
_COUNTED = re.compile(r"\d+(x\d+)*|\D+\d+|\d+\D+")  # not 0016E5
_FEWEST_DIGITS = 4  # of a number that stands alone
_CACHED = 1 << 16  # parts

# Words, in lower case, whose number says where in an image, in a series or in a dataset something
# is, or how large it is; not what it is of.
OF_NO_SUBJECT = frozenset(
    """
    x y z r c i j k n e w t v d px mm tile tiles patch patches crop crops window row rows col
    cols column columns pos offset size res resolution scale zoom level lvl lat lon lng latitude
    longitude fold folds batch batches set subset part parts group split chunk shard folder dir
    dataset class label category version ver rev seed aug augmented rot rotation angle bit bits
    ch channel band
    """.split()  # noqa: SIM905 (a list of words, not of code)
)
# Words whose number is that of a subject, so that equal names are no accident of numbering.
OF_SUBJECTS = frozenset(
    """
    patient patients pat pt subject subjects subj sub case cases person donor volunteer animal
    mouse rat specimen biopsy study series exam participant
    """.split()  # noqa: SIM905 (a list of words, not of code)
)
_SPLITS = frozenset(["train", "training", "val", "valid", "validation", "test", "testing"])


def parts_of(name: str) -> list[str]:
    """Return the parts of a name, in lower case.

    Examples
    --------
    >>> parts_of("BraTS20/Patient-07_slice 3")
    ['brats20', 'patient', '07', 'slice', '3']
    """
    if name.isascii():
        return _PART.findall(name.lower())
    # The lower case of other letters may be several characters, separators among them.
    return [part.lower() if part.isascii() else part for part in _PART.findall(name)]


def shared_parts(names: Iterable[str]) -> frozenset[str]:
    """Return the parts that all names have.

    Examples
    --------
    >>> sorted(shared_parts(["BraTS20_001_3", "BraTS20_002_3"]))
    ['3', 'brats20']
    >>> sorted(shared_parts([]))
    []
    """
    sets = [frozenset(parts_of(name)) for name in names]
    return frozenset.intersection(*sets) if len(sets) > 1 else frozenset()


def subject_parts(name: str, shared: Collection[str] = frozenset()) -> tuple[str, ...]:
    """Return the parts of a name that say which subject an image is of.

    Parameters
    ----------
    name
        Key of a sample or case.
    shared
        Parts that all names of the store have, in lower case.

    Returns
    -------
    tuple of str
        In lower case; empty if the name tells of no subject.

    Examples
    --------
    >>> subject_parts("Patient-07_slice_3"), subject_parts("image_001")
    (('patient', '07'), ())
    >>> subject_parts("patient07_left"), subject_parts("image07_left")
    (('patient07',), ())
    """
    parts = parts_of(name)
    first, stop = _subject_in(parts, name, shared)
    return tuple(parts[first:stop])


def subject_of(name: str, shared: Collection[str] = frozenset()) -> str:
    """Return the subject of an image as it is written in its name; empty if it tells of none.

    Parameters
    ----------
    name, shared
        See :func:`subject_parts`.

    Examples
    --------
    >>> subject_of("patient_07_slice_3"), subject_of("image_001"), subject_of("2007_000027")
    ('patient_07', '', '')
    >>> subject_of("train/TCGA_CS_4941_19960909_12"), subject_of("tile_3_7")
    ('TCGA_CS_4941', '')
    >>> subject_of("BraTS20_Training_001_12", {"brats20", "training"})
    'BraTS20_Training_001'
    """
    first, stop = _subject_in(parts_of(name), name, shared)
    places = [match.span() for match in _PART.finditer(name)]
    return name[places[first][0] : places[stop - 1][1]] if stop else ""


def _subject_in(parts: Sequence[str], name: str, shared: Collection[str]) -> tuple[int, int]:
    """Return which parts of a name say its subject; 0, 0 if none do."""
    last = len(parts) - 1  # something follows what identifies
    first = 0
    if last > 0 and parts[0] in _SPLITS:
        first = int(name[len(parts[0]) : len(parts[0]) + 1] == "/")
    word, dated = "", False
    for place in range(first, last):
        part = parts[place]
        if part.isalpha():
            word, dated = part, False
            continue
        before, word = word, ""
        if part in shared:
            continue
        kind = _kind(part, before)
        if kind == _NO_SUBJECT or (dated and part.isdigit()):
            continue
        dated = kind == _IS_DATE
        if dated:
            continue
        later = any(not each.isalpha() and each not in shared for each in parts[place + 1 :])
        if later or not OF_SUBJECTS.isdisjoint([before, *_LETTERS.findall(part)]):
            return first, place + 1
        return 0, 0
    return 0, 0


_IDENTIFIES, _IS_DATE, _NO_SUBJECT = range(3)


@lru_cache(_CACHED)
def _kind(part: str, before: str) -> int:
    """Say what a part with a digit is, by itself and by the word before it, if there is one."""
    if _DATE.fullmatch(part):
        return _IS_DATE
    letters = _LETTERS.findall(part)
    if OF_NO_SUBJECT.issuperset(letters or [before]) and _COUNTED.fullmatch(part):
        return _NO_SUBJECT
    if not letters and not before and len(part) < _FEWEST_DIGITS:
        return _NO_SUBJECT
    short = letters and len("".join(letters)) < 3 and sum(map(str.isdigit, part)) < 2
    return _NO_SUBJECT if short and OF_SUBJECTS.isdisjoint(letters) else _IDENTIFIES


def names_subjects(name: str) -> bool:
    """Whether a name has a word for subjects, such as ``patient``.

    Examples
    --------
    >>> names_subjects("Patient07"), names_subjects("image_07")
    (True, False)
    """
    return not OF_SUBJECTS.isdisjoint(_LETTERS.findall(name.casefold()))
