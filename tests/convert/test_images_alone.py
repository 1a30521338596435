"""Without masks, and with ``--masks none``, a dataset is its images: packed, checked, predicted."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from typer.testing import CliRunner

from dicom_writing import labels, new_dataset, values, write_nifti, write_series
from source_contract import require_source
from source_seeds import seeds
from zarrfeed import SplitReader, ZarrSequence, open_split
from zarrfeed.errors import SourceError
from zarrfeed_convert import convert, open_source, repack, verify
from zarrfeed_tools.cli import app

KINDS = ("paired", "tiff", "nifti", "dicom", "ome-zarr")


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    """A dataset in every way of storing one: (its folder, its format, its arguments)."""
    folder = tmp_path_factory.mktemp("seeds")
    written = seeds(folder)
    return [
        (folder / str(number), seed.kind, dict(seed.arguments))
        for number, seed in enumerate(written)
        if seed.kind in KINDS and "fields" not in seed.arguments
    ]


def first_of(datasets, kind):
    return next(found for found in datasets if found[1] == kind)


def images_of(source):
    return [source.read(sample)[0] for sample in range(len(source.keys))]


def test_images_alone_are_those_that_have_masks(datasets, monkeypatch):
    assert {kind for _, kind, _ in datasets} == set(KINDS)
    for folder, kind, arguments in datasets:
        monkeypatch.chdir(folder)
        pairs = open_source(kind, arguments)
        alone = open_source(kind, {**arguments, "masks": "none"})
        require_source(alone, images_of(pairs))
        assert alone.keys == pairs.keys
        assert [names[0] for names in map(pairs.names, range(len(pairs.keys)))] == [
            name for (name,) in map(alone.names, range(len(alone.keys)))
        ]


@pytest.mark.parametrize("kind", KINDS[:-1])
def test_masks_need_not_be_refused_where_none_are_found(datasets, monkeypatch, kind):
    folder, _, arguments = first_of(datasets, kind)
    monkeypatch.chdir(folder)
    alone = open_source(kind, {"images": arguments["images"]})
    require_source(alone, images_of(open_source(kind, arguments)))
    for option, value in (("mask_map", "1=0"), ("mask_suffix", "_m")):
        said = {"images": arguments["images"], option: value}
        with pytest.raises(SourceError, match=rf"^--masks: is needed with the option {option}"):
            open_source(kind, said)
        with pytest.raises(SourceError, match=rf"^option {option}: .*leave one of both out"):
            open_source(kind, {**said, "masks": "none"})


@pytest.mark.parametrize("kind", [*KINDS[:-1], "npz"])
def test_masks_none_repeats_what_was_packed_without_masks(datasets, tmp_path, monkeypatch, kind):
    if kind == "npz":
        np.savez(tmp_path / "a.npz", x=np.zeros((3, 8, 8, 3), np.uint8), y=np.eye(8, dtype=int))
        folder, arguments = tmp_path, {"images": "a.npz:x"}
    else:
        folder, _, arguments = first_of(datasets, kind)
    monkeypatch.chdir(folder)
    ways = [{"images": arguments["images"], **said} for said in ({}, {"masks": "none"})]
    for first, second in (ways, ways[::-1]):
        out = tmp_path / f"{len(first)}.zarr"
        reports = [
            convert(open_source(kind, way), out, split="a", workers=1) for way in (first, second)
        ]
        assert [report.status for report in reports] == ["packed", "already packed"]


def test_masks_none_is_not_what_was_packed_with_masks(datasets, tmp_path, monkeypatch):
    folder, kind, arguments = first_of(datasets, "ome-zarr")
    monkeypatch.chdir(folder)
    ways = [{"images": arguments["images"], **said} for said in ({}, {"masks": "none"})]
    for first, second in (ways, ways[::-1]):  # without `masks`, OME-Zarr finds them
        out = tmp_path / f"{len(first)}.zarr"
        convert(open_source(kind, first), out, split="a", workers=1)
        with pytest.raises(SourceError, match=r"packed otherwise \(--masks: "):
            convert(open_source(kind, second), out, split="a", workers=1)


@pytest.mark.parametrize("kind", KINDS)
def test_images_alone_are_packed_checked_repacked_and_predicted(
    datasets, tmp_path, monkeypatch, kind
):
    folder, _, arguments = first_of(datasets, kind)
    monkeypatch.chdir(folder)
    out, again = tmp_path / "o.zarr", tmp_path / "p.zarr"
    command = ["convert", str(out), "--split", "test", "--format", kind, "--workers", "1",
               "--images", arguments["images"], "--masks", "none", "--order", "source"]  # fmt: skip
    done = CliRunner().invoke(app, command, env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    assert "masks: the source has none" in done.output
    repack(out / "test", again, split="test", codec="zstd", workers=1)
    images = np.stack(images_of(open_source(kind, {**arguments, "masks": "none"})))
    for store in (out, again):
        checked = verify(store / "test", source=True, workers=1)
        assert checked.ok, checked.problems
        with SplitReader(open_split(store / "test")) as reader:
            found = reader.read(range(len(images)))
        assert list(found) == ["image"]
        np.testing.assert_array_equal(found["image"], images)
    model = keras.Sequential([keras.Input(images.shape[1:]), keras.layers.Conv2D(1, 1)])
    with ZarrSequence(out / "test", 2, shuffle=False) as seq:
        predicted = model.predict(seq, verbose=0)
    np.testing.assert_allclose(predicted, model.predict(images, verbose=0), rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize(("kind", "end"), [("tiff", "tif"), ("nifti", "nii")])
def test_stacks_of_which_one_has_no_masks_name_it(datasets, tmp_path, monkeypatch, kind, end):
    folder, _, arguments = first_of(datasets, kind)
    monkeypatch.chdir(tmp_path)
    for side, name in (("images", "a"), ("masks", "a"), ("images", "b")):
        place = folder / arguments[side]
        content = (place if place.is_file() else place / f"a.{end}").read_bytes()
        (tmp_path / side).mkdir(exist_ok=True)
        (tmp_path / side / f"{name}.{end}").write_bytes(content)
    source = open_source(kind, {"images": "images", "masks": "masks"})
    assert source.left_out == ((f"images/b.{end}", "this image has no mask"),)
    with pytest.raises(SourceError, match=rf"images/b\.{end}: this image has no mask"):
        convert(source, tmp_path / "o.zarr", split="test", workers=1)


def test_labels_that_are_not_said_to_be_masks_label_no_series(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_series("i/case", values())
    write_nifti("i/case.nii", labels())
    require_source(open_source("dicom", {"images": "i"}), values()[..., None])
    labelled = open_source("dicom", {"images": "i", "masks": "i"})
    np.testing.assert_array_equal(labelled.read_mask(2), labels()[2])


def test_contours_are_not_passed_over_in_silence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_series("i/case", values())
    new_dataset("1.2.840.10008.5.1.4.1.1.481.3").save_as("i/rt.dcm", enforce_file_format=True)
    for masks in ("", "i/rt.dcm"):
        with pytest.raises(SourceError, match=r"found contours \(RTSTRUCT\) in i/rt\.dcm, .* none"):
            open_source("dicom", {"images": "i", "masks": masks})
    require_source(open_source("dicom", {"images": "i", "masks": "none"}), values()[..., None])


def test_channels_of_a_stack_alone_are_those_that_the_file_says(datasets, tmp_path, monkeypatch):
    tifffile = pytest.importorskip("tifffile")
    monkeypatch.chdir(tmp_path)
    planes = np.arange(5 * 8 * 6, dtype=np.uint8).reshape(5, 8, 6)
    tifffile.imwrite("a.tif", planes, imagej=True, metadata={"axes": "CYX"})
    require_source(open_source("tiff", {"images": "a.tif"}), [np.moveaxis(planes, 0, 2)])
    pages = open_source("tiff", {"images": "a.tif", "axis": "C"})
    require_source(pages, planes[..., None])
