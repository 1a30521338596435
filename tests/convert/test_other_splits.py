"""What a model of the other splits would not take is said."""

from __future__ import annotations

import numpy as np
import pytest

from zarrfeed_convert import convert, open_source, repack

VOLUMES = (4, 6, 8, 8, 1)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def pack(split, shape, dtype="uint8", out="o.zarr", **options):
    """Pack images without masks; give what is said about other splits."""
    np.savez(f"{split}.npz", x=np.ones(shape, dtype))
    source = open_source("npz", {"images": f"{split}.npz:x", **options})
    report = convert(source, out, split=split, workers=1, overwrite=True)
    return [(d.value, d.reason) for d in report.decisions if d.what == "other splits"]


@pytest.mark.parametrize(
    ("train", "test", "said"),
    [
        (
            (VOLUMES, "uint8"),
            ((3, 8, 8, 3), "uint8"),
            "(H, W, 3) uint8, but train has (D, H, W, 1) uint8: a model of one does not take the "
            "other; if the arrays hold volumes, use -o axes=NDHW",
        ),
        (
            ((3, 8, 8, 3), "uint8"),
            (VOLUMES, "uint8"),
            "(D, H, W, 1) uint8, but train has (H, W, 3) uint8: a model of one does not take the "
            "other; if the arrays hold images, use -o axes=NHWC",
        ),
        (
            ((3, 8, 8, 3), "uint8"),
            ((3, 8, 8, 1), "uint8"),
            "(H, W, 1) uint8, but train has (H, W, 3) uint8: a model of one does not take the "
            "other",
        ),
        (
            ((3, 8, 8, 3), "uint8"),
            ((3, 8, 8, 3), "int16"),
            "(H, W, 3) int16, but train has (H, W, 3) uint8: a model of one does not take the "
            "other",
        ),
    ],
)
def test_other_axes_channels_and_dtypes_are_said(train, test, said):
    assert pack("train", *train) == []
    assert pack("test", *test) == [("image differs", said)]


def test_what_is_advised_makes_them_alike():
    pack("train", VOLUMES)
    ((_, said),) = pack("test", (4, 6, 8, 4))
    assert said.endswith("-o axes=NDHW")
    assert pack("test", (4, 6, 8, 4), axes="NDHW") == []


def test_other_sizes_and_fields_that_the_other_splits_lack_are_none_of_its_business():
    def rows(size, **more):
        return [{"image": np.ones((*size, 3), np.uint8), **more} for _ in range(2)]

    depth = {"depth": np.ones((8, 8), np.float32)}
    reports = [
        convert(rows((8, 8), **fields), "o.zarr", split=split, workers=1)
        for split, fields in (("a", {}), ("b", depth))
    ]
    reports.append(convert(rows((9, 7)), "o.zarr", split="c", workers=1))
    for report in reports:
        assert "other splits" not in {decision.what for decision in report.decisions}
    other = rows((8, 8), depth=np.ones((8, 8), np.float64))
    report = convert(other, "o.zarr", split="d", workers=1)
    about = {decision.what: decision for decision in report.decisions}["other splits"]
    assert about.value == "depth differs"
    assert about.reason.startswith("(H, W) float64, but b has (H, W) float32: ")


def test_a_repack_says_so_too():
    pack("train", VOLUMES)
    pack("s", (3, 8, 8, 3), out="p.zarr")
    report = repack("p.zarr/s", "o.zarr", split="test", workers=1)
    assert "other splits" in {decision.what for decision in report.decisions}
