"""Do several splits have units of one name, or of one subject?

Names are compared by hashes of 64 bits, so that memory does not grow with their length.

Folders of images are often numbered anew in each split: then ``image_001`` of one has nothing to do
with ``image_001`` of the other. Two splits are taken to be numbered anew if nine in ten names of
the smaller one are names of the larger one, too, both have the same first name, no name has a word
for subjects, such as ``patient``, and no two units of one name have the same content. Equal names
of such splits are told, but not counted.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zarrfeed.spelling import plural
from zarrfeed_tools.report.facts import Leakage
from zarrfeed_tools.report.groups import Groups, equal_groups, grouping_of
from zarrfeed_tools.report.subjects import names_subjects, shared_parts, subject_of, subject_parts

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from zarrfeed_tools.report.population import Population
    from zarrfeed_tools.report.units import Units

_LOOKED_AT = 1000  # names of a split, by which parts that all names have are found
_MOST_SPLITS = 64  # that are compared two by two
_CONTAINED = 0.9


@dataclass(frozen=True, slots=True, eq=False)
class _Names:
    """What the names of all units say; hashes are 0 where there is no name or no subject."""

    keys: NDArray[np.int64]
    subjects: NDArray[np.int64]
    shared: frozenset[str]


def find_leakage(population: Population, digests: NDArray[np.uint64] | None) -> Leakage | None:
    """Find names that several splits share.

    Parameters
    ----------
    population
        All units.
    digests
        (n,) digest of the content of each unit, 0 where it is unknown; None if all are.

    Returns
    -------
    Leakage or None
        None if fewer than two splits have names.
    """
    if sum(units.has_names for units in population.splits) < 2:
        return None
    names = _names_of(population)
    same = _across(names.keys, population)
    anew, remarks = _numbered_anew(population, same, digests)
    subjects = _across(names.subjects, population)
    # A subject of which there is one unit, or the same one, is told as a key.
    subjects = subjects.select(subjects.varies(names.keys))
    return Leakage(
        grouping_of(_without(same, population, anew), population, lambda _, key: key),
        grouping_of(
            _without(subjects, population, anew),
            population,
            lambda _, key: subject_of(key, names.shared),
        ),
        remarks,
    )


def _names_of(population: Population) -> _Names:
    shared = shared_parts(name for units in population.splits for name in _some_names(units))
    keys = np.zeros(len(population), np.int64)
    subjects = np.zeros(len(population), np.int64)
    for units, first in zip(population.splits, population.firsts.tolist(), strict=True):
        at = first
        for names in units.key_blocks():
            keys[at : at + len(names)] = [hash(name) or 1 for name in names]
            subjects[at : at + len(names)] = [_subject_hash(name, shared) for name in names]
            at += len(names)
    return _Names(keys, subjects, shared)


def _some_names(units: Units) -> list[str]:
    if not units.has_names:
        return []
    steps = np.linspace(0, len(units) - 1, min(len(units), _LOOKED_AT)).astype(np.int64)
    return units.keys(steps.tolist())


def _subject_hash(name: str, shared: Collection[str]) -> int:
    parts = subject_parts(name, shared)
    return hash(parts) or 1 if parts else 0


def _across(hashes: NDArray[np.int64], population: Population) -> Groups:
    """Group units with equal hashes that are of several splits."""
    known = np.flatnonzero(hashes)
    groups = equal_groups(hashes[known], known)
    return groups.select(groups.varies(_splits_of(population)))


def _splits_of(population: Population) -> NDArray[np.int64]:
    return population.split_of(np.arange(len(population), dtype=np.int64))


def _presence(groups: Groups, population: Population) -> NDArray[np.bool_]:
    """Say which splits each group has members of, (groups, splits)."""
    there = np.zeros((len(groups), len(population.splits)), np.bool_)
    there[np.repeat(np.arange(len(groups)), groups.sizes), population.split_of(groups.members)] = 1
    return there


def _without(groups: Groups, population: Population, anew: NDArray[np.bool_]) -> Groups:
    """Leave out groups that are of several splits only because these are numbered anew."""
    if not anew.any() or not len(groups):
        return groups
    there = _presence(groups, population)
    # Any two splits of a group that are not numbered anew keep it.
    related = ~(anew | np.eye(len(anew), dtype=np.bool_))
    others = there.astype(np.float32) @ related
    return groups.select(np.asarray((others * there).any(axis=1), np.bool_))


def _numbered_anew(
    population: Population, same: Groups, digests: NDArray[np.uint64] | None
) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """Say which splits are numbered anew, two by two, and tell of them.

    Parameters
    ----------
    population, digests
        As for :func:`find_leakage`.
    same
        Units of one name.
    """
    splits = population.splits
    anew = np.zeros((len(splits), len(splits)), np.bool_)
    if not len(same) or len(splits) > _MOST_SPLITS:
        return anew, ()
    there = _presence(same, population).astype(np.float32)
    common = (there.T @ there).astype(np.int64)
    remarks = []
    firsts: dict[int, str] = {}
    for one, other in itertools.combinations(range(len(splits)), 2):
        fewer = min(len(splits[one]), len(splits[other]))
        if not fewer or common[one, other] < _CONTAINED * fewer:
            continue
        for each in (one, other):
            if each not in firsts:
                firsts[each] = _first_name(splits[each])
        name = firsts[one]
        if name != firsts[other] or names_subjects(name):
            continue
        if digests is not None and _same_content(same, population, digests, (one, other)):
            continue
        anew[one, other] = anew[other, one] = True
        remarks.append(
            f"{splits[one].name} and {splits[other].name} have "
            f"{plural(int(common[one, other]), 'name')} in common, such as {name}, with different "
            "content: each seems to number its images from the start"
        )
    return anew, tuple(remarks)


def _first_name(units: Units) -> str:
    """Return the first name, the shortest ones first, as numbers that begin at 0 are."""
    return min(
        (min(names, key=lambda name: (len(name), name)) for names in units.key_blocks()),
        key=lambda name: (len(name), name),
    )


def _same_content(
    same: Groups, population: Population, digests: NDArray[np.uint64], pair: tuple[int, int]
) -> bool:
    """Whether two splits have a unit of the same name and the same content."""
    group = np.repeat(np.arange(len(same)), same.sizes)
    inside = np.isin(population.split_of(same.members), pair) & (digests[same.members] != 0)
    content = np.column_stack([group[inside].astype(np.uint64), digests[same.members[inside]]])
    return bool(len(np.unique(content, axis=0)) < len(content))
