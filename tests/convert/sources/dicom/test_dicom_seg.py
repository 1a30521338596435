"""Segments that highdicom wrote lie on the slices that they were drawn on."""

from __future__ import annotations

import pickle
import random
from pathlib import Path

import numpy as np
import pytest
import zarr

from zarrfeed.errors import SourceError
from zarrfeed_convert import convert
from zarrfeed_convert.formats import source_of
from zarrfeed_convert.source import IMAGES_ONLY

pydicom = pytest.importorskip("pydicom")
hd = pytest.importorskip("highdicom")
DicomSeries = pytest.importorskip("zarrfeed_convert.sources.dicom.dicom").DicomSeries

from pydicom.sr.codedict import codes  # noqa: E402 (may be absent)
from pydicom.uid import ExplicitVRLittleEndian, RLELossless  # noqa: E402

from dicom_segments import write_seg  # noqa: E402
from dicom_writing import (  # noqa: E402
    COLUMNS,
    COUNT,
    ROWS,
    labels,
    values,
    write_enhanced,
    write_nifti,
    write_series,
)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def layered(*areas):
    return np.stack(areas, axis=-1).astype("uint8")


def masks_of(source):
    return np.stack([source.read(sample)[1] for sample in range(len(source.keys))])


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_segments_are_classes_by_their_numbers(kind, syntax):
    if (kind, syntax) == ("BINARY", RLELossless):
        pytest.skip("bits are not compressed")
    masks = labels(ids=4)
    masks[1] = 0  # no frame shows it
    paths = write_series("t/ct", values())
    mixed = random.Random(1).sample(range(COUNT), COUNT)  # frames in an order of their own
    write_seg(
        "t/seg/1.dcm",
        [paths[at] for at in mixed],
        masks[mixed],
        ["Liver", "Spleen", "Tumor"],
        kind=kind,
        syntax=syntax,
    )
    source = DicomSeries("t", "t")
    assert source.classes == ("background", "Liver", "Spleen", "Tumor")
    assert source.left_out == ()
    assert source.keys[0] == "ct/0000"
    found = masks_of(source)
    np.testing.assert_array_equal(found, masks)
    assert found.dtype == np.uint8
    for sample in range(COUNT):
        np.testing.assert_array_equal(source.read(sample)[0][..., 0], values()[sample])
        np.testing.assert_array_equal(source.read_mask(sample), masks[sample])
    if kind != "LABELMAP":
        assert source.names(1)[1] == "t/seg/1.dcm[no frame]"
    again = hd.seg.segread("t/seg/1.dcm")  # what its own writer reads
    numbers = again.get_pixels_by_source_instance(
        [pydicom.dcmread(path).SOPInstanceUID for path in paths],
        combine_segments=True,
        skip_overlap_checks=True,
        assert_missing_frames_are_empty=True,
        **({"rescale_fractional": True} if kind == "FRACTIONAL" else {}),
    )
    np.testing.assert_array_equal(found, numbers)


def test_segments_among_the_images_are_their_masks_unless_none_are_wanted():
    paths = write_series("t/ct", values())
    write_series("t/mr", values())
    write_seg("t/seg.dcm", paths, labels(ids=2), ["Liver"])
    source = DicomSeries("t")
    np.testing.assert_array_equal(masks_of(source), labels(ids=2))
    assert source.left_out == (("t/mr", "the series mr has no segments"),)
    alone = DicomSeries("t", "none")
    assert (len(alone.keys), alone.fields, alone.left_out) == (2 * COUNT, IMAGES_ONLY, ())
    assert alone.classes is None
    with pytest.raises(SourceError, match=r"^--masks: is needed with the option segments"):
        DicomSeries("t/ct", segments="Liver")


def test_frames_are_found_by_position_where_no_image_is_named():
    masks = labels(ids=2)
    masks[3] = 0
    paths = write_series("i", values())
    write_seg("m/seg.dcm", paths, masks, ["Liver"])
    data = pydicom.dcmread("m/seg.dcm")
    for frame in data.PerFrameFunctionalGroupsSequence:
        del frame.DerivationImageSequence
    data.save_as("m/seg.dcm")
    np.testing.assert_array_equal(masks_of(DicomSeries("i", "m")), masks)
    place = data.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0]
    place.ImagePositionPatient = [float(x) + 0.3 for x in place.ImagePositionPatient]
    data.save_as("m/seg.dcm")
    with pytest.raises(SourceError, match=r"^m/seg\.dcm: needed a slice of i .* frame 2"):
        DicomSeries("i", "m")


def test_a_higher_segment_number_wins_where_segments_overlap_and_that_is_counted():
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 2, (2, COUNT, ROWS, COLUMNS))
    paths = write_series("i", values())
    write_seg("m/seg.dcm", paths, layered(one, other), ["A", "B"])
    source = DicomSeries("i", "m")
    np.testing.assert_array_equal(masks_of(source), np.where(other, 2, one))
    assert source.describe()["facts"]["overlapping_pixels"] == (one & other).sum()


def test_names_mean_the_same_class_in_every_file_and_may_be_chosen():
    first, second = labels(ids=3, seed=1), labels(ids=2, seed=2)
    paths = write_series("t/p1/ct", values())
    write_seg("t/p1/seg.dcm", paths, first, ["Liver", "Tumor"])
    paths = write_series("t/p2/ct", values())
    write_seg("t/p2/seg.dcm", paths, second, ["Tumor"])
    source = DicomSeries("t", "t")
    assert source.classes == ("background", "Liver", "Tumor")
    np.testing.assert_array_equal(masks_of(source), np.concatenate([first, second * 2]))
    chosen = DicomSeries("t", "t", segments="Tumor, Necrosis")
    assert chosen.classes == ("background", "Tumor", "Necrosis")
    np.testing.assert_array_equal(masks_of(chosen), np.concatenate([first == 2, second]))
    mapped = DicomSeries("t", "t", mask_map="2=1")
    assert mapped.classes is None
    assert set(np.unique(masks_of(mapped))) == {0, 1}
    with pytest.raises(SourceError, match=r"option segments: .*tumour; choose from Liver, Tumor$"):
        DicomSeries("t", "t", segments="tumour")


def test_segments_of_one_type_are_one_class_and_several_files_add_up():
    masks = [labels(ids=2, seed=seed) for seed in range(3)]
    paths = write_series("i", values())
    kinds = [codes.SCT.Neoplasm] * 2
    write_seg("m/1.dcm", paths, layered(*masks[:2]), ["Nodule 1", "Nodule 2"], kinds=kinds)
    write_seg("m/2.dcm", paths, masks[2], ["Nodule 3"], kinds=kinds[:1])
    source = DicomSeries("i", "m", names_from="type")
    assert source.classes == ("background", codes.SCT.Neoplasm.meaning)
    np.testing.assert_array_equal(masks_of(source), masks[0] | masks[1] | masks[2])
    assert source.describe()["facts"]["overlapping_pixels"] == 0
    by_label = DicomSeries("i", "m")
    assert by_label.classes == ("background", "Nodule 1", "Nodule 3", "Nodule 2")
    assert by_label.describe()["facts"]["overlapping_pixels"] > 0


def test_fractions_count_from_a_threshold_on():
    fractions = np.random.default_rng(0).integers(0, 101, (COUNT, ROWS, COLUMNS)) / 100
    paths = write_series("i", values())
    write_seg(
        "m/seg.dcm", paths, fractions.astype("float32"), ["Liver"], kind="FRACTIONAL",
        max_fractional_value=100,
    )  # fmt: skip
    np.testing.assert_array_equal(masks_of(DicomSeries("i", "m")), fractions >= 0.5)
    source = DicomSeries("i", "m", threshold=0.2)
    np.testing.assert_array_equal(masks_of(source), fractions >= 0.2)


def test_segments_on_frames_of_an_enhanced_file():
    order, _ = write_enhanced("i/ct.dcm", values())
    masks = labels(ids=2)
    write_seg("m/seg.dcm", ["i/ct.dcm"], masks[order], ["Liver"])
    source = DicomSeries("i", "m")
    np.testing.assert_array_equal(masks_of(source), masks)


def test_segments_of_other_images_are_told():
    masks = labels(ids=2)
    masks[:, 0, 0] = 1
    for name in ("a", "b"):
        paths = write_series(f"i/{name}", values())
        write_seg(f"m/{name}.dcm", paths, masks, ["Liver"])
    Path("i/b").rename("b")
    write_series("i/c", values())
    source = DicomSeries("i", "m")
    assert {key[0] for key in source.keys} == {"a"}
    why = dict(source.left_out)
    assert why.keys() == {"m/b.dcm", "i/c"}
    assert "needed the series it was drawn on" in why["m/b.dcm"]
    assert why["i/c"] == "the series c has no segments"
    paths = sorted(Path("i/a").glob("*.dcm"))
    paths[0].unlink()
    fewer = DicomSeries("i/a", "m/a.dcm")
    assert len(fewer.keys) == COUNT - 1
    assert fewer.describe()["facts"]["frames_of_other_images"] == 1


def test_segments_of_another_size_are_refused():
    paths = write_series("i", values())
    write_seg("m/seg.dcm", paths, labels(ids=2), ["Liver"])
    for path in paths:
        data = pydicom.dcmread(path)
        data.Columns, data.PixelData = COLUMNS - 2, data.PixelData[: 2 * ROWS * (COLUMNS - 2)]
        data.save_as(path)
    with pytest.raises(
        SourceError, match=r"needed segments on the pixels of .* found frames of 8x6"
    ):
        DicomSeries("i", "m")


def test_both_kinds_of_labels_are_refused_and_a_damaged_one_is_named():
    paths = write_series("i", values())
    write_seg("m/seg.dcm", paths, labels(ids=2), ["Liver"])
    write_nifti("m/i.nii", labels())
    with pytest.raises(SourceError, match="needed DICOM segments or NIfTI labels, found both in m"):
        DicomSeries("i", "m")
    Path("m/i.nii").unlink()
    source = DicomSeries("i", "m")
    data = Path("m/seg.dcm").read_bytes()
    Path("m/seg.dcm").write_bytes(data[: len(data) - 2])
    with pytest.raises(SourceError, match=r"^m/seg\.dcm\[frame=\d\]: cannot be read: it ends"):
        [source.read_mask(sample) for sample in range(COUNT)]
    Path("m/seg.dcm").unlink()
    with pytest.raises(SourceError, match=r"^m/seg\.dcm\[frame=\d\]: cannot be read: .*No such"):
        source.read_mask(0)


@pytest.mark.parametrize(("rows", "columns"), [(7, 5), (3, 3), (5, 3), (9, 7)])
def test_bits_of_frames_that_begin_within_a_byte(rows, columns):
    masks = labels(count=9, ids=2, rows=rows, columns=columns)
    masks[:, 0, 0] = 1  # a frame for every slice
    paths = write_series("i", values(9, rows=rows, columns=columns))
    write_seg("m/seg.dcm", paths, masks, ["Liver"])
    np.testing.assert_array_equal(masks_of(DicomSeries("i", "m")), masks)


def test_empty_slices_may_be_left_out():
    masks = labels(ids=2)
    masks[[0, 4]] = 0
    write_seg("m/seg.dcm", write_series("i", values()), masks, ["Liver"])
    source = DicomSeries("i", "m", skip_empty=True)
    assert source.keys == ["i/0001", "i/0002", "i/0003"]
    assert source.describe()["facts"]["empty_slices_left_out"] == 2
    assert source.left_out == ()


def test_packed_slices_are_the_series(tmp_path):
    masks = labels(ids=3)
    write_seg("m/seg.dcm", write_series("i", values()), masks, ["Liver", "Tumor"])
    source = DicomSeries("i", "m")
    for again in (pickle.loads(pickle.dumps(source)), source_of(source.describe())):
        assert again.keys == source.keys
        assert again.classes == source.classes
        assert again.describe() == source.describe()
    convert(source, tmp_path / "o.zarr", split="train", classes=source.classes, workers=2)
    split = zarr.open_group(str(tmp_path / "o.zarr/train"), mode="r")
    for place, key in enumerate(split["key"][:]):
        number = int(bytes(key).rstrip(b"\0").decode().removeprefix("i/"))
        np.testing.assert_array_equal(split["image"][place][..., 0], values()[number])
        np.testing.assert_array_equal(split["mask"][place], masks[number])
