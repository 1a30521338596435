"""What every source must be, whatever it reads."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from zarrfeed_convert import convert
from zarrfeed_convert.formats import source_of
from zarrfeed_convert.header import Header
from zarrfeed_convert.source import IMAGES_ONLY, PAIR
from zarrfeed_convert.sources.values import packed_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray


def require_source(
    source: Any,
    images: Sequence[NDArray[Any]],
    masks: Sequence[NDArray[Any]] | None = None,
) -> None:
    """Require that a source has these samples, says so, travels, and can be opened again.

    Without masks: that it has images alone.
    """
    assert source.fields == (IMAGES_ONLY if masks is None else PAIR)
    assert len(set(source.keys)) == len(source.keys) == len(images)
    assert list(source.keys) == sorted(source.keys)
    for sample, image in enumerate(images):
        found, *others = source.read(sample)
        shape = others[0].shape if others else None
        np.testing.assert_array_equal(found, image)
        assert len(source.names(sample)) == len(source.fields) == 1 + len(others)
        assert source.probe(sample) == Header.of_pair(found.shape, str(found.dtype), shape)
        assert str(found.dtype) == packed_dtype(found.dtype, "image")
        assert found.dtype.isnative
        assert found.flags.c_contiguous
        assert found.flags.writeable
        require_windows(source, sample)
    again = pickle.loads(pickle.dumps(source))
    assert again.keys == source.keys
    assert again.names(0) == source.names(0)
    np.testing.assert_array_equal(again.read(0)[0], images[0])
    for sample, mask in enumerate(() if masks is None else masks):
        ids = source.read(sample)[1]
        np.testing.assert_array_equal(ids, mask)
        np.testing.assert_array_equal(source.read_mask(sample), mask)
        assert str(ids.dtype) in ("uint8", "uint16")
        assert ids.dtype.isnative
    description = json.loads(json.dumps(source.describe()))
    assert description == source.describe()
    reopened = source_of(description)
    assert reopened.describe() == description
    assert list(reopened.keys) == list(source.keys)
    assert reopened.fields == source.fields
    np.testing.assert_array_equal(reopened.read(len(images) - 1)[0], images[-1])
    if masks is not None:
        assert len(masks) == len(images)
        np.testing.assert_array_equal(reopened.read_mask(len(masks) - 1), masks[-1])


def require_windows(source: Any, sample: int, count: int = 4) -> None:
    """Require that parts of a sample are those of all of it, and that its affine has its axes."""
    whole, header = source.read(sample), source.probe(sample)
    size = header.size
    rng = np.random.default_rng(sample)
    ends = [[sorted(rng.integers(0, extent, 2)) for extent in size] for _ in range(count)]
    ends += [[(0, extent - 1) for extent in size], [(extent - 1, extent - 1) for extent in size]]
    for each in ends:
        window = tuple(slice(int(first), int(last) + 1) for first, last in each)
        parts = source.read_window(sample, window)
        assert len(parts) == len(whole)
        for part, values in zip(parts, whole, strict=True):
            np.testing.assert_array_equal(part, values[window])
            assert part.dtype.isnative
        if source.fields[1:2] == PAIR[1:]:
            np.testing.assert_array_equal(source.read_mask_window(sample, window), whole[1][window])
    assert source.reads_windows(sample) in (True, False)
    chunk = source.decoded_together(sample)
    assert not chunk or (len(chunk) == len(size) and min(chunk) >= 1)
    if header.affine is not None:
        axes = len(size) + 1
        assert np.shape(header.affine) == (axes, axes)
        assert header.affine[-1] == (*(0.0,) * (axes - 1), 1.0)
        assert np.isfinite(header.affine).all()
        assert np.linalg.det(header.affine) != 0


def require_packed(
    source: Any, out: Path, images: Sequence[NDArray[Any]], masks: Sequence[NDArray[Any]], **options
) -> None:
    """Require that zarr-python finds these samples in the store that the source is packed into."""
    convert(source, out, split="train", **{"workers": 1, **options})
    split = zarr.open_group(str(out / "train"), mode="r")
    keys = [bytes(row).rstrip(b"\0").decode() for row in split["key"][:]]
    assert sorted(keys) == sorted(source.keys)
    for row, key in enumerate(keys):
        sample = list(source.keys).index(key)
        np.testing.assert_array_equal(split["image"][row], images[sample])
        np.testing.assert_array_equal(split["mask"][row], masks[sample])
