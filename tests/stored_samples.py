"""What other readers find in a packed split, sample by sample."""

from __future__ import annotations

import json

import numpy as np
import zarr

from folders import contents
from zarrfeed import SplitReader, open_split
from zarrfeed_convert import verify


def texts(names):
    return [bytes(row).rstrip(b"\0").decode() for row in names]


def by_key(split):
    """What zarr-python reads of every sample, by its name."""
    group = zarr.open_group(str(split), mode="r")
    names = texts(group["key"][:])
    fields = ("image", "mask", "digest", "class_pixels", "channel_sums")
    values = [group[field][:] for field in fields]
    return dict(zip(names, zip(*values, strict=True), strict=True))


def in_order_of_keys(path):
    """What the loader reads of every field of a split, sorted by the samples' keys."""
    split = open_split(path)
    rows = range(split.layouts["image"].shape[0])
    with SplitReader(split) as reader:
        found = reader.read(rows)
    with SplitReader(split, ["key"]) as reader:
        order = np.argsort([row.tobytes() for row in reader.read(rows)["key"]])
    return {name: values[order] for name, values in found.items()}


def require_same(found, expected):
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        for one, other in zip(values, found[key], strict=True):
            np.testing.assert_array_equal(one, other)


def attributes(split):
    return json.loads((split / "zarr.json").read_text())["attributes"]["zarrfeed"]


def arrays(split):
    """All files of a split but its own description."""
    return {name: data for name, data in contents(split).items() if name != "zarr.json"}


def require_verified(path, **how):
    """Check that `verify` finds no problem; in this process, unless `workers` says otherwise."""
    found = verify(path, **{"workers": 1, **how})
    assert found.ok, found.problems
