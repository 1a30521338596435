"""Images of every dtype are packed, checked, repacked and fed bit for bit."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from former_tiles import pack_former_tiles
from zarrfeed import ZarrSequence, open_split
from zarrfeed.errors import SourceError
from zarrfeed_convert import PairedFolders, Source, convert, repack, verify
from zarrfeed_convert.header import Header

DTYPES = [
    "int8", "int16", "int32", "uint8", "uint16", "uint32", "float16", "float32", "float64",
]  # fmt: skip


def rows(path):
    """The images of a split, as batches hold them, in the order of their masks' numbers."""
    with ZarrSequence(path, 2, shuffle=False, workers=0) as seq:
        batches = [(images.copy(), masks.copy()) for images, masks in seq]
    images, masks = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    return images[np.argsort(masks[:, 0, 0])]


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
@settings(max_examples=3, deadline=None)
def test_values_come_back_bit_for_bit(dtype, data):
    numbers = hnp.from_dtype(np.dtype(dtype))
    images = data.draw(hnp.arrays(dtype, (3, 4, 5, 2), elements=numbers))
    with tempfile.TemporaryDirectory() as folder:
        out, again = Path(folder, "o.zarr"), Path(folder, "p.zarr")
        samples = [(image, np.full((4, 5), number)) for number, image in enumerate(images)]
        convert(samples, out, split="train", classes=3, codec="zstd", workers=1)
        repack(out / "train", again, split="train", codec="lz4", seed=1, workers=1)
        for store in (out, again):
            found = rows(store / "train")
            assert found.dtype == images.dtype
            assert found.tobytes() == images.tobytes()
            verified = verify(store, workers=1)
            assert verified.ok, verified.problems


@pytest.mark.parametrize("dtype", DTYPES)
def test_mean_and_std_are_those_of_the_pixels(tmp_path, dtype):
    kind = np.dtype(dtype)
    rng = np.random.default_rng(0)
    if kind.kind == "f":
        images = rng.normal(100, 30, (4, 9, 7, 3)).astype(dtype)
    else:
        limits = np.iinfo(dtype)
        images = rng.integers(limits.min, limits.max, (4, 9, 7, 3), dtype, endpoint=True)
    convert([(image, np.zeros((9, 7), int)) for image in images], tmp_path / "o", split="s",
            classes=1, workers=1)  # fmt: skip
    channels = open_split(tmp_path / "o/s").attributes["channels"]
    wide = images.astype(np.float64).reshape(-1, 3)
    np.testing.assert_allclose(channels["mean"], wide.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(channels["std"], wide.std(axis=0), rtol=1e-12)


def test_values_that_no_statistics_hold_are_packed_and_counted(tmp_path):
    """The squares of such float64 are infinite."""
    images = np.array([1.0, 1e300, -1e308, 3.0]).reshape(1, 2, 2, 1)
    report = convert([(images[0], np.zeros((2, 2), int))], tmp_path / "o", split="s", classes=1)
    channels = open_split(tmp_path / "o/s").attributes["channels"]
    assert channels == {"mean": [2.0], "std": [1.0], "not_finite": [2.0]}
    assert "not finite" in {decision.what for decision in report.decisions}
    assert verify(tmp_path / "o").ok


# -- Stores of before, whose images were uint8, uint16 or float32 ----------------------------------


class AsBefore(Source):
    """A source as it was: what is neither uint8 nor uint16 is float32."""

    def __init__(self, source):
        self._source = source

    @property
    def keys(self):
        return self._source.keys

    def describe(self):
        return self._source.describe()

    def names(self, sample):
        return self._source.names(sample)

    def probe(self, sample):
        header = self._source.probe(sample)
        return Header.of_pair(header.image.shape, "float32", header.mask.shape)

    def read(self, sample):
        image, mask = self._source.read(sample)
        return image.astype(np.float32), mask


def save(path, values):
    plane = {"planarconfig": "contig"} if values.ndim == 3 else {}
    tifffile.imwrite(path, values, photometric="minisblack", **plane)


@pytest.fixture(params=["int16", "float64", "int64"])
def originals(request, tmp_path, monkeypatch):
    """Six images of another dtype with masks, below the current folder."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for sample in range(6):
        image = (rng.random((9, 8, 2)) * 4000 - 1000).astype(request.param)
        for folder, values in (("i", image), ("m", rng.integers(0, 3, (9, 8)).astype(np.uint8))):
            Path(folder).mkdir(exist_ok=True)
            save(f"{folder}/s{sample}.tif", values)
    return PairedFolders("i", "m")


SIZES = [{}, {"size": (5, 6), "fit": "resize"}, {"size": (4, 4), "overlap": 1}]


@pytest.mark.parametrize("size", SIZES)
def test_a_store_of_before_is_verified_against_its_originals(originals, size):
    write = pack_former_tiles if "overlap" in size else convert
    write(AsBefore(originals), "o.zarr", split="train", classes=3, workers=1, **size)
    repack("o.zarr/train", "p.zarr", split="train", codec="zstd", workers=1)
    for store in ("o.zarr", "p.zarr"):
        assert open_split(f"{store}/train").layouts["image"].dtype == np.float32
        verified = verify(store, source=True, workers=1)
        assert verified.ok, verified.problems
    image = tifffile.imread("i/s2.tif")
    image[4, 4] += 1
    save("i/s2.tif", image)
    problems = verify("o.zarr", source=True, workers=1).problems
    assert {problem.key.partition("#")[0] for problem in problems} == {"s2"}
    assert {problem.kind for problem in problems} == {"original-changed"}


def test_a_store_of_before_is_there_already_until_it_is_overwritten(originals):
    convert(AsBefore(originals), "o.zarr", split="train", classes=3, workers=1)
    again = {"split": "train", "classes": 3, "workers": 1}
    assert convert(originals, "o.zarr", **again).status == "already packed"
    convert(originals, "o.zarr", overwrite=True, **again)
    packed = originals.probe(0).dtype
    assert open_split("o.zarr/train").layouts["image"].dtype == packed != np.float32
    assert verify("o.zarr", source=True, workers=1).ok


def test_a_conversion_that_was_killed_before_is_refused_until_restart_is_asked_for(originals):
    layout = {
        "split": "train", "classes": 3, "workers": 1, "chunk_samples": 2, "shard_size": 2**10,
    }  # fmt: skip

    def killed(what, done, total):
        if what == "packing" and done > 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(AsBefore(originals), "o.zarr", progress=killed, **layout)
    packed = originals.probe(0).dtype
    with pytest.raises(SourceError, match=f"layouts: .*float32.* there, .*{packed}.*--restart"):
        convert(originals, "o.zarr", **layout)
    convert(originals, "o.zarr", restart=True, **layout)
    assert verify("o.zarr", source=True, workers=1).ok
