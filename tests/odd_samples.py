"""Small packed datasets, of which a report has something to say."""

from __future__ import annotations

import numpy as np

from cases import CaseArrays
from zarrfeed_convert import convert


def textured(seed, size=(24, 20), channels=3):
    """Return an image of random cells, whose hash tells something."""
    cells = np.random.default_rng(seed).integers(0, 256, (8, 9, channels), np.uint8)
    rows, columns = (
        np.arange(extent) * cells // extent for extent, cells in zip(size, (8, 9), strict=True)
    )
    return cells[rows][:, columns]


def striped(ids, size=(24, 20)):
    """Return a mask with some classes."""
    rows = np.array(ids)[np.arange(size[0]) * len(ids) // size[0]]
    return np.broadcast_to(rows[:, None], size).astype(np.uint8)


def pack_samples(store, split, samples, **options):
    """Pack a split of samples: key → (image, mask)."""
    triples = [(key, image, mask) for key, (image, mask) in samples.items()]
    convert(triples, store, split=split, workers=1, **({"classes": 3} | options))
    return store


def pack_cases(store, split, cases, tile, **options):
    """Pack a split of cases: key → (image, mask)."""
    source = CaseArrays(
        {key: {"image": image, "mask": mask} for key, (image, mask) in cases.items()},
        **options.pop("source", {}),
    )
    convert(source, store, split=split, tile=tile, workers=1, **({"classes": 3} | options))
    return store


def keys_of(found):
    """Return the keys of the units of a finding or a group, sorted."""
    return sorted(unit.key for unit in found.units)
