"""Images are padded with the value that was asked for, and the split records it."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

from zarrfeed import open_split
from zarrfeed.errors import SourceError
from zarrfeed_convert import PairedFolders, convert, repack, verify

AIR = -1024
SIZES = [(12, 10), (14, 9)]
PAD = {"size": (14, 16), "fit": "pad", "ignore": 255, "workers": 1, "order": "source"}


@pytest.fixture
def scans(tmp_path, monkeypatch):
    """Two slices of CT with ids, a further image and a dose."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    kinds = {"ct": "int16", "late": "int16", "ids": "uint8", "dose": "float32"}
    for kind, dtype in kinds.items():
        (tmp_path / kind).mkdir()
        for number, size in enumerate(SIZES):
            np.save(tmp_path / kind / f"{number}.npy", rng.integers(1, 4, size).astype(dtype))
    return PairedFolders("ct", "ids", fields={"late": "image:late", "dose": "target:dose"})


def pack(scans, **options):
    return convert(scans, "o.zarr", split="s", **{**PAD, **options})


def about_padding(report):
    return [decision for decision in report.decisions if decision.what == "padding"]


@pytest.mark.parametrize("how", [{}, {"size": None, "fit": None, "tile": (14, 16)}], ids=str)
def test_images_are_padded_with_it_and_nothing_else_is(scans, how):
    (about,) = about_padding(pack(scans, pad_value=AIR, **how))
    assert (about.value, about.reason) == (
        "-1024",
        "padded pixels of images are -1024, as asked for",
    )
    root = zarr.open_group("o.zarr/s")
    for number, (height, width) in enumerate(SIZES):
        outside = np.ones((14, 16), bool)
        outside[:height, :width] = False
        for name, value in (("image", AIR), ("late", AIR), ("mask", 255), ("dose", 0)):
            values = root[name][number]
            assert (values[outside] == value).all()
            assert np.isin(values[~outside], [1, 2, 3]).all()
    assert verify("o.zarr/s", source=True, workers=1).ok
    if not how:
        repack("o.zarr/s", "p.zarr", split="s", codec="zstd", workers=1)
        assert verify("p.zarr/s", source=True, workers=1).ok


def test_it_is_recorded_only_where_it_is_asked_for(scans):
    (about,) = about_padding(pack(scans))
    assert about.value == "0"
    assert "--pad-value" in about.reason
    assert "pad_value" not in open_split("o.zarr/s").attributes["packed"]["settings"]
    assert pack(scans).status == "already packed"
    with pytest.raises(SourceError, match=r"--pad-value: none there, -1024\.0 asked for"):
        pack(scans, pad_value=np.int16(AIR))
    pack(scans, pad_value=np.int16(AIR), overwrite=True)
    assert open_split("o.zarr/s").attributes["packed"]["settings"]["pad_value"] == AIR
    assert pack(scans, pad_value=AIR).status == "already packed"
    with pytest.raises(SourceError, match=r"--pad-value: -1024\.0 there, none asked for"):
        pack(scans)


def test_where_nothing_is_padded_nothing_is_said(scans):
    assert not about_padding(pack(scans, fit="crop", size=(12, 9)))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"pad_value": 2**15}, r"needed a whole number within -32768 … 32767, .* int16 .* image"),
        ({"pad_value": 0.5}, "needed a whole number"),
        ({"pad_value": float("nan")}, "needed a finite number, found float nan"),
        ({"pad_value": "air"}, "needed a finite number, found str 'air'"),
        ({"pad_value": 0, "fit": "resize"}, "is of tiles and of the fit pad; found fit resize"),
        ({"pad_value": 0, "fit": None, "size": None}, "is of tiles and of the fit pad"),
    ],
)
def test_a_value_that_images_cannot_have_is_refused(scans, options, said):
    with pytest.raises(SourceError, match=f"pad_value: {said}"):
        pack(scans, **options)
