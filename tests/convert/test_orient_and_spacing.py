"""Volumes are packed turned and resampled, recorded as such, and verified against originals."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nibabel
import numpy as np
import pytest
import zarr
from typer.testing import CliRunner

from stored_samples import require_verified
from volume_spaces import Scans, nifti_of, values_of
from zarrfeed.errors import SourceError
from zarrfeed_convert import Limits, convert, open_source, repack, verify
from zarrfeed_convert.affines import axis_codes, spacing_of
from zarrfeed_convert.regridded import RegriddedSource
from zarrfeed_convert.sources.read_errors import resolved
from zarrfeed_tools.cli import app

AXIAL = np.array([[0, 0, -0.8, 90], [0, -0.8, 0, 70], [3, 0, 0, 30], [0, 0, 0, 1]])  # LPS
CORONAL = np.array([[0, 0, 1, 0], [2, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]])


def scans(affines=(AXIAL, AXIAL, CORONAL)):
    sizes = [(5, 12, 10), (6, 10, 12), (7, 9, 11)][: len(affines)]
    images = [values_of((*size, 1), "int16", seed) for seed, size in enumerate(sizes)]
    masks = [values_of(size, "uint8", seed) % 3 for seed, size in enumerate(sizes)]
    return Scans(images, affines, masks)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def settings_of(path):
    return zarr.open_group(path, mode="r").attrs["zarrfeed"]["packed"]["settings"]


def test_volumes_are_stored_as_cases_in_their_new_space():
    source = scans()
    convert(
        source, "o.zarr", split="t", orient="ras", spacing=(1.5, 1, 1), tile=(4, 5, 6),
        order="source", classes=3, workers=1,
    )  # fmt: skip
    wanted = RegriddedSource(source, orient="RAS", spacing=(1.5, 1, 1))
    root = zarr.open_group("o.zarr/t", mode="r")
    for number in range(3):
        header = wanted.probe(number)
        assert root["case_size"][number].tolist() == list(header.size)
        np.testing.assert_allclose(root["case_affine"][number], header.affine)
        np.testing.assert_allclose(root["case_spacing"][number], (1.5, 1, 1))
        assert axis_codes(root["case_affine"][number]) == "RAS"
        # The tile at the origin, of (d, h, w) voxels inside the case.
        tile = root["image"][int(root["case_first_tile"][number])]
        part = tuple(slice(0, min(t, s)) for t, s in zip((4, 5, 6), header.size, strict=True))
        np.testing.assert_array_equal(tile[part], wanted.read(number)[0][part])
    assert settings_of("o.zarr/t")["orient"] == "RAS"
    assert settings_of("o.zarr/t")["spacing"] == [1.5, 1, 1]
    require_verified("o.zarr", source=source)


def test_volumes_of_equal_size_are_samples():
    source = scans((AXIAL, AXIAL))
    convert(source, "o.zarr", split="t", spacing=(3, 0.8, 1), size=(5, 8, 8), fit="crop",
            order="source", classes=3, workers=1)  # fmt: skip
    assert zarr.open_group("o.zarr/t", mode="r")["image"].shape == (2, 5, 8, 8, 1)
    require_verified("o.zarr", source=source)


def test_nothing_is_recorded_that_was_not_asked_for():
    convert(scans((AXIAL,)), "o.zarr", split="t", orient="keep", spacing="keep", classes=3,
            workers=1)  # fmt: skip
    assert not {"orient", "spacing"} & settings_of("o.zarr/t").keys()


def test_the_median_is_recorded_as_numbers_that_other_splits_take():
    convert(scans(), "o.zarr", split="train", spacing="median", tile="auto", classes=3, workers=1)
    assert settings_of("o.zarr/train")["spacing"] == [3, 0.8, 0.8]
    other = scans((CORONAL,))
    report = convert(other, "o.zarr", split="val", spacing="median", tile="auto", workers=1)
    assert settings_of("o.zarr/val")["spacing"] == [3, 0.8, 0.8]
    reasons = {each.what: each.reason for each in report.decisions}
    assert "that of the dataset's other splits" in reasons["spacing"]
    again = convert(other, "o.zarr", split="val", spacing="median", tile="auto", workers=1)
    assert again.status == "already packed"
    require_verified("o.zarr/val", source=other)


def test_a_split_in_another_space_is_told():
    convert(scans(), "o.zarr", split="train", orient="RAS", spacing=(2, 1, 1), tile="auto",
            classes=3, workers=1)  # fmt: skip

    def said(split, **space):
        report = convert(scans(), "o.zarr", split=split, tile="auto", workers=1, **space)
        return [(d.value, d.reason) for d in report.decisions if d.what == "other splits"]

    assert said("a", orient="RAS", spacing=(2, 1, 1)) == []
    ((value, reason),) = said("b", orient="RAS")
    assert value == "spacing differs"
    assert reason.startswith("keep, but a has 2,1,1: a model of one sees")
    assert said("c", spacing=(2, 1, 1))[0][0] == "orient differs"


def test_merged_splits_in_other_spaces_are_told_and_verified():
    """Each input's settings are recorded, by which its originals are compared."""
    convert(scans(), "a.zarr", split="t", orient="RAS", tile=(4, 5, 6), classes=3, workers=1)
    convert(scans(), "b.zarr", split="t", spacing=(2, 1, 1), tile=(4, 5, 6), classes=3, workers=1)
    report = repack(["a.zarr/t", "b.zarr/t"], "m.zarr", split="t", prefix_keys=True, workers=1)
    told = [line for line in report.remarks if line.startswith("other splits: ")]
    assert re.search("orient differs: RAS of .*a.zarr/t, keep of .*b.zarr/t: the split", told[0])
    assert re.search("spacing differs: keep of .*a.zarr/t, 2,1,1 of .*b.zarr/t: the", told[1])
    described = zarr.open_group("m.zarr/t", mode="r").attrs["zarrfeed"]
    settings = [one["settings"] for one in described["source"]["inputs"]]
    assert [one.get("orient") for one in settings] == ["RAS", None]
    assert [one.get("spacing") for one in settings] == [None, [2, 1, 1]]
    same = repack("a.zarr/t", "n.zarr", split="t", workers=1, dry_run=True)
    assert not [each for each in same.decisions if each.what == "other splits"]


def test_another_spacing_is_another_split():
    convert(scans(), "o.zarr", split="t", spacing=(2, 1, 1), tile="auto", classes=3, workers=1)
    with pytest.raises(SourceError, match=r"--spacing: 2,1,1 there, none asked for"):
        convert(scans(), "o.zarr", split="t", tile="auto", classes=3, workers=1)
    with pytest.raises(SourceError, match="orient: none there, LPS asked for"):
        convert(scans(), "o.zarr", split="t", spacing=(2, 1, 1), orient="LPS", tile="auto",
                classes=3, workers=1)  # fmt: skip


@pytest.mark.parametrize(
    ("stored", "repacked"),
    [
        ({"size": (4, 4, 4), "fit": "resize"}, {"codec": "zstd"}),
        ({"tile": (4, 4, 4)}, {"tile": (3, 5, 6)}),
    ],
)
def test_repacked_splits_are_compared_with_originals_in_the_same_space(stored, repacked):
    source = scans()
    convert(source, "o.zarr", split="t", orient="RAS", spacing=(2, 1, 1), classes=3, workers=1,
            **stored)  # fmt: skip
    repack("o.zarr/t", "p.zarr", split="t", workers=1, **repacked)
    require_verified("p.zarr", source=source)
    source.images[1][:] += 1000
    changed = {each.key for each in verify("p.zarr", source=source, workers=1).problems}
    assert {key.partition("#")[0] for key in changed} == {"scan1"}


def test_damaged_records_of_a_space_are_a_problem_of_the_split():
    source = scans()
    convert(source, "o.zarr", split="t", orient="RAS", tile="auto", classes=3, workers=1)
    for damaged in ({"orient": "XYZ"}, {"orient": 3}, {"spacing": [1, 2]}, {"spacing": {}}):
        root = zarr.open_group("o.zarr/t", mode="r+")
        attributes = json.loads(json.dumps(root.attrs["zarrfeed"]))
        attributes["packed"]["settings"] = settings_of("o.zarr/t") | {"orient": "RAS"} | damaged
        root.attrs["zarrfeed"] = attributes
        found = verify("o.zarr", source=source, workers=1).problems
        assert [problem.kind for problem in found] == ["source"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"orient": "up"}, "orient: needed three letters"),
        ({"spacing": (1, 1)}, "spacing: needed three positive numbers"),
        ({"spacing": "1,1,1"}, "spacing: needed three positive numbers"),
        ({"spacing": "mean"}, "spacing: needed three positive numbers"),
    ],
)
def test_other_values_are_refused_at_the_door(asked, message):
    with pytest.raises(SourceError, match=message):
        convert(scans(), "o.zarr", split="t", **asked)


def test_samples_without_a_place_are_skipped_if_asked_for():
    affines = (AXIAL, None, np.diag([1, 0, 1, 1]))
    with pytest.raises(SourceError, match=r"scan1\.nii: needed an affine"):
        convert(scans(affines), "o.zarr", split="t", spacing="median", tile="auto", classes=3,
                workers=1)  # fmt: skip
    report = convert(scans(affines), "o.zarr", split="t", spacing="median", tile="auto", classes=3,
                     workers=1, on_error="skip")  # fmt: skip
    assert report.packed == 1
    skipped = zarr.open_group("o.zarr/t", mode="r").attrs["zarrfeed"]["packed"]["skipped"]
    assert [entry["name"] for entry in skipped] == ["scan1.nii", "scan2.nii"]


def test_the_limit_is_one_of_resampled_volumes_too():
    with pytest.raises(SourceError, match="needed a resampled volume of at most 1 MiB"):
        convert(scans(), "o.zarr", split="t", spacing=(0.1, 0.1, 0.1), tile="auto", classes=3,
                workers=1, limits=Limits(sample_nbytes=1 << 20))  # fmt: skip


@pytest.fixture
def files():
    """Two CTs, axial and coronal, with labels, as NIfTI."""
    source = scans((AXIAL, CORONAL))
    for folder, volumes in (("images", source.images), ("labels", source.masks)):
        Path(folder).mkdir()
        for number, (values, affine) in enumerate(zip(volumes, source.affines, strict=True)):
            image = nifti_of(values.reshape(values.shape[:3]), affine)
            nibabel.save(image, Path(folder, f"ct{number}.nii.gz"))


def test_the_command_turns_and_resamples(files):
    arguments = (
        "convert", "o.zarr", "--split", "train", "--format", "nifti", "--as", "volumes",
        "--images", "images", "--masks", "labels", "--tile", "auto", "--orient", "RAS",
        "--spacing", "1.5, 1,1", "--classes", "3",
    )  # fmt: skip
    told = CliRunner().invoke(app, (*arguments, "--workers", "1", "--dry-run"))
    assert "2 of 2 volumes turn" in " ".join(told.output.split()), told.output
    done = CliRunner().invoke(app, (*arguments, "--workers", "2"))
    assert done.exit_code == 0, done.output
    root = zarr.open_group("o.zarr/train", mode="r")
    assert {axis_codes(affine) for affine in root["case_affine"][:]} == {"RAS"}
    for affine in root["case_affine"][:]:
        np.testing.assert_allclose(spacing_of(affine), (1.5, 1, 1))
    assert verify("o.zarr", source=True, workers=1).ok


@pytest.mark.parametrize("text", ["1.5,1", "1,1,0", "a,b,c", "1,nan,1", "1,1,inf", "mean", ""])
def test_the_command_says_how_spacings_are_written(text):
    done = CliRunner().invoke(
        app, ("convert", "o.zarr", "--split", "t", "--images", "images", "--spacing", text)
    )
    assert done.exit_code == 2
    assert "like 1.5,1,1, or median or keep" in " ".join(done.output.replace("│", "").split())


def test_relative_paths_are_made_absolute_for_other_machines(files, tmp_path, monkeypatch):
    inner = open_source("nifti", {"images": "images", "masks": "labels", "as_": "volumes"})
    source, places = resolved(RegriddedSource(inner, orient="RAS", spacing=(2, 2, 2)))
    assert str(tmp_path / "images") in places
    wanted = RegriddedSource(inner, orient="RAS", spacing=(2, 2, 2)).read(0)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for ours, theirs in zip(source.read(0), wanted, strict=True):
        np.testing.assert_array_equal(ours, theirs)
