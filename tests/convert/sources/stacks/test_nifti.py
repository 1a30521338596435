"""Slices of volumes are what nibabel reads, in any order, and labels lie where they should."""

from __future__ import annotations

import contextlib
import gzip
import os
import pickle
import platform
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from zarrfeed.errors import SourceError
from zarrfeed_convert import convert
from zarrfeed_convert.formats import open_source, source_of
from zarrfeed_convert.sources.stacks.volume_pairs import volume_axes

nib = pytest.importorskip("nibabel")
decompressed = pytest.importorskip("zarrfeed_convert.sources.stacks.decompressed")
NiftiVolumes = pytest.importorskip("zarrfeed_convert.sources.stacks.nifti").NiftiVolumes

SHAPE = (7, 6, 5)
AFFINE = np.array([[-0.8, 0, 0, 90], [0, 0.9, 0, -120], [0, 0, 2.5, -60], [0, 0, 0, 1.0]])


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(decompressed.tempfile, "tempdir", None)  # so that TMPDIR is looked at again


def values(*shape, dtype="int16", seed=0):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return (rng.normal(size=shape) * 100).astype(dtype)
    top = min(np.iinfo(dtype).max, 1000)
    return rng.integers(max(np.iinfo(dtype).min, -1000), top, shape, endpoint=True).astype(dtype)


def labels(*shape, ids=3, seed=7):
    return np.random.default_rng(seed).integers(0, ids, shape, "uint8")


def write(path, array, affine=AFFINE, *, slope=None, inter=0.0, kind=None):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    image = (kind or nib.Nifti1Image)(array, affine)
    if slope is not None:
        image.header.set_slope_inter(slope, inter)
    nib.save(image, path)
    return path


def case(name="case", image="i/{}.nii.gz", mask="m/{}.nii.gz", shape=SHAPE, dtype="int16"):
    write(image.format(name), values(*shape, dtype=dtype))
    write(mask.format(name), labels(*shape))


@pytest.mark.parametrize("extension", [".nii", ".nii.gz"])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(
    "dtype", ["uint8", "uint16", "int16", "float64", "int32", "float32", "int8", "uint32"]
)
def test_every_slice_is_the_one_that_nibabel_reads(extension, axis, dtype):
    write(f"i/a{extension}", values(*SHAPE, dtype=dtype))
    write(f"m/a{extension}", labels(*SHAPE))
    source = NiftiVolumes("i", "m", axis=axis)
    volume, masks = (np.asarray(nib.load(f"{side}/a{extension}").dataobj) for side in "im")
    assert source.keys == [f"a/000{number}" for number in range(SHAPE[axis])]
    for number in reversed(range(SHAPE[axis])):
        image, mask = source.read(number)
        header = source.probe(number)
        np.testing.assert_array_equal(image[:, :, 0], volume.take(number, axis))
        np.testing.assert_array_equal(mask, masks.take(number, axis))
        assert image.shape == header.image.shape
        assert mask.shape == header.mask.shape
        assert image.dtype == header.dtype == dtype
        assert image.flags.c_contiguous
    assert source.names(3)[0] == f"i/a{extension}[{'xyz'[axis]}=3]"


@pytest.mark.parametrize("dtype", ["int16", "uint8", "uint16"])
def test_scaled_intensities_are_float32(dtype):
    write("i.nii", values(*SHAPE, dtype=dtype), slope=0.25, inter=-3.5)
    write("m.nii", labels(*SHAPE))
    source = NiftiVolumes("i.nii", "m.nii")
    expected = np.asarray(nib.load("i.nii").dataobj)
    assert expected.dtype == np.float64
    np.testing.assert_array_equal(source.read(2)[0][..., 0], expected[:, :, 2].astype("float32"))
    assert source.probe(2).dtype == source.read(2)[0].dtype == "float32"


@pytest.mark.parametrize(
    ("slope", "inter", "dtype", "packed"),
    [
        (1, -1024, "uint16", "int16"),
        (1, -1024, "uint8", "int16"),
        (1, -32768, "uint16", "int16"),
        (1, -32769, "uint16", "int32"),
        (1, 1, "int16", "int32"),
        (2, 1, "int8", "int16"),
        (-3, 0, "int16", "int32"),
        (1, 7, "int32", "float32"),  # whose bits may mean what 32 bits do not hold
        (1, -1024, "float32", "float32"),
        (1, 0.5, "uint8", "float32"),
    ],
)
def test_whole_slopes_and_intercepts_give_integers(slope, inter, dtype, packed):
    stored = values(*SHAPE, dtype=dtype)
    write("i.nii", stored, slope=slope, inter=inter)
    write("m.nii", labels(*SHAPE))
    source = NiftiVolumes("i.nii", "m.nii")
    image = source.read(2)[0]
    assert source.probe(2).dtype == image.dtype == packed
    np.testing.assert_array_equal(
        image[..., 0], (stored[:, :, 2].astype(np.float64) * slope + inter).astype(packed)
    )


def test_uint16_that_nibabel_writes_as_int16_is_read_as_it_was():
    image = np.linspace(0, 2**16 - 1, 7 * 6 * 5).astype(np.uint16).reshape(SHAPE)
    file = nib.Nifti1Image(image, AFFINE)
    file.set_data_dtype(np.int16)
    nib.save(file, "i.nii")
    saved = nib.load("i.nii").dataobj
    assert (saved.dtype, saved.slope, saved.inter) == (np.int16, 1, 2**15)
    source = NiftiVolumes("i.nii")
    for number in range(5):
        (found,) = source.read(number)
        assert source.probe(number).dtype == found.dtype == np.int32
        np.testing.assert_array_equal(found[..., 0], image[..., number])


@pytest.mark.parametrize(
    ("dtypes", "packed"),
    [
        (("uint8", "float32"), "float32"),
        (("uint16", "int16"), "int32"),
        (("int8", "uint8"), "int16"),
        (("uint32", "int32"), "int32"),
        (("int32", "float32"), "float64"),
    ],
)
def test_volumes_of_two_dtypes_become_one_that_holds_both(dtypes, packed):
    for name, dtype in zip("ab", dtypes, strict=True):
        case(name, dtype=dtype)
    source = NiftiVolumes("i", "m")
    for sample in range(10):
        image = source.read(sample)[0]
        assert source.probe(sample).dtype == image.dtype == packed
        name = "ab"[sample // 5]
        stored = np.asarray(nib.load(f"i/{name}.nii.gz").dataobj)[:, :, sample % 5]
        np.testing.assert_array_equal(image[..., 0], stored)


@pytest.mark.parametrize(
    ("dtype", "packed"), [("float32", "float32"), ("float64", "float64"), ("int32", "int32")]
)
def test_scaled_integers_beside_floats_become_float32(dtype, packed):
    stored, other = values(*SHAPE, seed=1), values(*SHAPE, dtype=dtype)
    write("i/a.nii", stored, slope=1000, inter=1)
    write("i/b.nii", other)
    source = NiftiVolumes("i")
    for sample in (2, 7):
        (image,) = source.read(sample)
        assert source.probe(sample).dtype == image.dtype == packed
        meant = stored.astype(np.float64) * 1000 + 1 if sample == 2 else other
        np.testing.assert_array_equal(image[..., 0], meant[:, :, 2].astype(packed))


def test_what_a_common_dtype_does_not_hold_is_refused():
    write("i/a.nii", np.full(SHAPE, 2**31, np.uint32))
    write("i/b.nii", values(*SHAPE, dtype="int32"))
    for name in "ab":
        write(f"m/{name}.nii", labels(*SHAPE))
    with pytest.raises(SourceError, match=r"i/a\.nii\[z=1\]: needed integers that int32 holds"):
        NiftiVolumes("i", "m").read(1)


def test_big_endian_and_nifti2_and_label_floats():
    image = values(*SHAPE, dtype="uint16")
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(np.uint16)
    nib.save(nib.Nifti1Image(image, AFFINE, header), "i.nii")
    write("m.nii", labels(*SHAPE).astype("float64"), kind=nib.Nifti2Image)
    source = NiftiVolumes("i.nii", "m.nii")
    one, mask = source.read(4)
    assert one.dtype.isnative
    np.testing.assert_array_equal(one[..., 0], image[:, :, 4])
    np.testing.assert_array_equal(mask, labels(*SHAPE)[:, :, 4])
    assert mask.dtype == np.uint8


@pytest.mark.parametrize("count", [2, 3, 4, 9])
def test_a_fourth_axis_is_channels(count):
    stack = values(*SHAPE, count)
    write("i.nii.gz", stack)
    write("m.nii.gz", labels(*SHAPE)[..., None])
    source = NiftiVolumes("i.nii.gz", "m.nii.gz", axis=1)
    np.testing.assert_array_equal(source.read(2)[0], stack[:, 2])
    np.testing.assert_array_equal(source.read(2)[1], labels(*SHAPE)[:, 2])
    assert source.probe(2).channels == count
    with pytest.raises(SourceError, match=r"^i\.nii\.gz: needed masks of one value per pixel"):
        NiftiVolumes("m.nii.gz", "i.nii.gz")


def test_labels_may_have_a_channel_for_each_class_but_background():
    ids = labels(*SHAPE)
    write("i.nii", values(*SHAPE))
    write("m.nii", np.eye(1 + ids.max(), dtype=np.uint8)[ids][..., 1:])
    source = NiftiVolumes("i.nii", "m.nii", mask_map="one-hot=1,*=0")
    np.testing.assert_array_equal(source.read_mask(1), ids[:, :, 1])


def test_vectors_have_five_axes_and_flat_images_two():
    stack = values(*SHAPE, 1, 3)
    write("v.nii", stack)
    write("m.nii", labels(*SHAPE))
    np.testing.assert_array_equal(NiftiVolumes("v.nii", "m.nii").read(1)[0], stack[:, :, 1, 0])
    write("flat.nii", values(7, 6))
    write("flat_m.nii", labels(7, 6, 1))
    source = NiftiVolumes("flat.nii", "flat_m.nii")
    assert source.keys == ["flat/0000"]
    np.testing.assert_array_equal(source.read(0)[0][..., 0], values(7, 6))


def test_colours_of_voxels_are_channels():
    colors = np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    for number, name in enumerate("RGB"):
        colors[name] = values(*SHAPE, dtype="uint8", seed=number)
    write("i.nii", colors)
    write("m.nii", labels(*SHAPE))
    image, _ = NiftiVolumes("i.nii", "m.nii").read(2)
    np.testing.assert_array_equal(image[..., 1], colors["G"][:, :, 2])


def test_names_of_nnunet_pair_and_modalities_become_channels():
    for name in ("case_000", "case_001"):
        for channel in range(3):
            write(f"imagesTr/{name}_000{channel}.nii.gz", values(*SHAPE, seed=channel))
        write(f"labelsTr/{name}.nii.gz", labels(*SHAPE))
    Path("imagesTr/._case_000_0000.nii.gz").write_bytes(b"left by macOS")
    one = NiftiVolumes("imagesTr", "labelsTr", image_suffix="_0000")
    assert one.keys[0] == "case_000/0000"
    assert one.describe()["facts"]["left_aside"] == {"images": 4, "masks": 0}
    assert len(NiftiVolumes("imagesTr/*_0000.nii.gz", "labelsTr").keys) == len(one.keys)
    several = NiftiVolumes("imagesTr", "labelsTr", image_suffix="_0000,_0001,_0002")
    assert several.probe(1).channels == 3
    expected = np.stack([values(*SHAPE, seed=channel)[:, :, 1] for channel in range(3)], axis=2)
    np.testing.assert_array_equal(several.read(1)[0], expected)
    Path("imagesTr/case_001_0002.nii.gz").unlink()
    several = NiftiVolumes("imagesTr", "labelsTr", image_suffix="_0000,_0001,_0002")
    assert [name for name, _ in several.left_out] == [
        "imagesTr/case_001_0000.nii.gz",
        "labelsTr/case_001.nii.gz",
    ]
    Path("imagesTr/case_000_0001.nii.gz").write_bytes(b"no longer")
    with pytest.raises(
        SourceError, match=r"^imagesTr/case_000_0000.nii.gz\[z=1\]: imagesTr/case_000_0001"
    ):
        several.read(1)


def test_names_that_differ_are_told_and_names_of_other_splits_refused():
    for number in (1, 2):
        case(f"{number}", image="i/volume-{}.nii", mask="m/segmentation-{}.nii")
        case(f"{number}", image="t/train_{}.nii", mask="v/val_{}.nii")
    [(what, value, why)] = NiftiVolumes("i", "m").remarks
    assert (what, value) == ("names", "2 pairs differ")
    assert why.endswith("volume-1 and segmentation-1: compared without 'volume', 'segmentation'")
    with pytest.raises(SourceError, match="differ in 'train' and 'val'; give both of the same"):
        NiftiVolumes("t", "v")


def test_one_folder_may_hold_images_and_labels():
    for name in ("p1/p1", "p2/p2"):
        for channel in ("flair", "t1", "t1ce", "t2"):
            write(f"brats/{name}_{channel}.nii.gz", values(*SHAPE))
        write(f"brats/{name}_seg.nii.gz", labels(*SHAPE))
    source = NiftiVolumes(
        "brats", "brats", image_suffix="_flair,_t1,_t1ce,_t2", mask_suffix="_seg", mask_map="2=1"
    )
    assert source.keys[5] == "p2/p2/0000"
    assert source.probe(0).channels == 4
    assert set(np.unique(source.read_mask(0))) == {0, 1}


def reoriented(array, affine, axcodes):
    image = nib.Nifti1Image(array, affine)
    to = nib.orientations.axcodes2ornt(axcodes)
    turn = nib.orientations.ornt_transform(nib.io_orientation(affine), to)
    turned = image.as_reoriented(turn)
    return np.asarray(turned.dataobj), turned.affine


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("axcodes", ["RAS", "LPS", "PIR", "SLA", "ASR", "IRP"])
def test_canonical_volumes_are_what_nibabel_turns_to_ras(axis, axcodes):
    image, affine = reoriented(values(*SHAPE), AFFINE, axcodes)
    write("i.nii.gz", image, affine)
    mask, mask_affine = reoriented(labels(*SHAPE), AFFINE, "LAI")  # lies elsewise in its file
    write("m.nii.gz", mask, mask_affine)
    source = NiftiVolumes("i.nii.gz", "m.nii.gz", canonical=True, axis=axis)
    expected, masks = (
        np.asarray(nib.as_closest_canonical(nib.load(name)).dataobj)
        for name in ("i.nii.gz", "m.nii.gz")
    )
    assert len(source.keys) == expected.shape[axis]
    for number in range(len(source.keys)):
        one, ids = source.read(number)
        np.testing.assert_array_equal(one[..., 0], expected.take(number, axis))
        np.testing.assert_array_equal(ids, masks.take(number, axis))
        assert one.shape[:2] == source.probe(number).size
    if axcodes != "LAI":
        with pytest.raises(SourceError, match=r"needed volumes (of one|at the same)"):
            NiftiVolumes("i.nii.gz", "m.nii.gz")


@given(
    st.permutations(range(3)),
    st.lists(st.sampled_from([1, -1]), min_size=3, max_size=3),
    st.integers(0, 2),
)
def test_law_slices_of_a_turned_volume_are_slices_after_turning(order, signs, axis):
    volume = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    orientation = np.array(list(zip(order, signs, strict=True)))
    whole = nib.orientations.apply_orientation(volume, orientation)
    axes = volume_axes(SHAPE, 1, axis=axis, orientation=orientation)
    assert axes.count == whole.shape[axis]
    for number in range(whole.shape[axis]):
        part = axes.arrange(volume[axes.index(number)])
        np.testing.assert_array_equal(part, whole.take(number, axis))
        assert part.shape == axes.size


def test_labels_must_lie_where_the_image_does():
    write("i/a.nii", values(*SHAPE))
    write("i/b.nii", values(*SHAPE))
    write("i/c.nii", values(*SHAPE))
    write("m/a.nii", labels(*SHAPE), AFFINE + np.diag([1e-4, -1e-4, 1e-4, 0]))  # rounded
    moved = AFFINE.copy()
    moved[2, 3] += 2.5
    write("m/b.nii", labels(*SHAPE), moved)
    write("m/c.nii", labels(7, 6, 4))
    source = NiftiVolumes("i", "m")
    assert {key.partition("/")[0] for key in source.keys} == {"a"}
    why = dict(source.left_out)
    assert why.keys() == {"i/b.nii", "i/c.nii"}
    assert "in m/b.nii: corners are up to 2.5 mm (3.12 voxels) apart" in why["i/b.nii"]
    assert "found 7×6×5, but 7×6×4 in m/c.nii" in why["i/c.nii"]
    for option in ({"ignore_affine": "yes"}, {"geometry": "warn"}):
        again = open_source("nifti", {"images": "i", "masks": "m", **option})
        assert {key.partition("/")[0] for key in again.keys} == {"a", "b"}
        [(what, count, reason)] = again.remarks
        assert (what, count) == ("geometry", "1 file elsewhere")
        assert "i/b.nii: the affine [[-0.8" in reason
        assert "-57.5]] in m/b.nii: corners are up to 2.5 mm (3.12 voxels) apart" in reason
        assert why.keys() - {"i/b.nii"} == dict(again.left_out).keys()
    with pytest.raises(SourceError, match=r"^i/b\.nii: needed volumes at the same position"):
        NiftiVolumes("i/b.nii", "m/b.nii")


def test_labels_of_no_affine_are_turned_as_the_image_is():
    write("i.nii", values(*SHAPE))
    write("m.nii", labels(*SHAPE), np.diag([1, -1, 1, 1]))
    source = NiftiVolumes("i.nii", "m.nii", canonical=True, ignore_affine=True)
    np.testing.assert_array_equal(source.read_mask(2), labels(*SHAPE)[::-1, :, 2])


def test_empty_slices_may_be_left_out_and_are_counted():
    masks = labels(*SHAPE)
    masks[:, :, [0, 3]] = 0
    masks[:, :, 4] = 2
    write("i.nii.gz", values(*SHAPE))
    write("m.nii.gz", masks)
    every = NiftiVolumes("i.nii.gz", "m.nii.gz")
    assert len(every.keys) == 5
    source = NiftiVolumes("i.nii.gz", "m.nii.gz", skip_empty=True, mask_map="2=0")
    assert source.keys == ["i/0001", "i/0002"]
    assert source.names(1)[0] == "i.nii.gz[z=2]"
    assert source.describe()["facts"]["empty_slices_left_out"] == 3
    np.testing.assert_array_equal(source.read(1)[0][..., 0], values(*SHAPE)[:, :, 2])
    assert source.left_out == ()
    with pytest.raises(SourceError, match="every slice was left out as empty"):
        NiftiVolumes("i.nii.gz", "m.nii.gz", skip_empty=True, mask_map="*=0")


def test_what_goes_wrong_names_the_slice():
    case()
    source = NiftiVolumes("i", "m")
    packed = Path("i/case.nii.gz").read_bytes()
    Path("i/case.nii.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(SourceError, match=r"^i/case\.nii\.gz\[z=3\]: cannot be read: "):
        source.read(3)
    Path("m/case.nii.gz").unlink()
    with pytest.raises(SourceError, match=r"^m/case\.nii\.gz\[z=3\]: cannot be read: .*No such"):
        source.read_mask(3)
    assert not list(Path().glob("zarrfeed-*/*.partial"))


@pytest.mark.parametrize("extension", [".nii", ".nii.gz"])
def test_a_volume_that_ends_early_is_never_read_in_part(extension):
    case(image=f"i/{{}}{extension}", shape=(17, 16, 15))
    path = Path(f"i/case{extension}")
    whole = path.read_bytes()
    said = []
    for end in range(0, len(whole), max(1, len(whole) // 30)):
        path.write_bytes(whole[:end])
        try:
            source = NiftiVolumes("i", "m")
        except SourceError as error:
            said.append(str(error))
            continue
        for number in range(0, 15, 7):
            with contextlib.suppress(SourceError):
                np.testing.assert_array_equal(
                    source.read(number)[0][..., 0], values(17, 16, 15)[:, :, number]
                )
    assert said
    assert all(text.startswith(f"i/case{extension}: ") for text in said)


def test_there_is_nothing_to_pack():
    case()
    with pytest.raises(SourceError, match="no such file or folder: nowhere"):
        NiftiVolumes("i", "nowhere")
    with pytest.raises(SourceError, match="option axis: needed 0, 1 or 2, found 3"):
        NiftiVolumes("i", "m", axis=3)
    with pytest.raises(SourceError, match="same 1 files"):
        NiftiVolumes("i", "i")
    Path("m/case.nii.gz").write_bytes(gzip.compress(b"no volume"))
    with pytest.raises(SourceError, match=r"^m/case\.nii\.gz: cannot be read: "):
        NiftiVolumes("i", "m")
    write("c.nii", values(*SHAPE).astype("complex64"))
    write("m.nii", labels(*SHAPE))
    with pytest.raises(SourceError, match=r"^c\.nii: needed an array of numbers, found complex64"):
        NiftiVolumes("c.nii", "m.nii")
    write("half.nii", labels(*SHAPE) / 2)
    write("i.nii", values(*SHAPE))
    with pytest.raises(SourceError, match=r"^half\.nii\[z=0\]: needed a mask of class ids"):
        NiftiVolumes("i.nii", "half.nii").read(0)


def test_a_packed_volume_is_decompressed_once_by_all_processes(monkeypatch):
    case(shape=(32, 32, 32))
    opened = []
    real = decompressed.open_gzip
    monkeypatch.setattr(decompressed, "open_gzip", lambda path: opened.append(path) or real(path))
    source = NiftiVolumes("i", "m")
    copies = [pickle.loads(pickle.dumps(source)) for _ in range(2)]
    order = np.random.default_rng(0).permutation(32)

    def read(one):
        for number in order:
            one.read(int(number))

    threads = [threading.Thread(target=read, args=(one,)) for one in (source, *copies)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(opened) == ["i/case.nii.gz", "m/case.nii.gz"]


def test_reading_takes_memory_for_slices_only_and_leaves_nothing_behind():
    write("i.nii.gz", np.zeros((256, 256, 256), "int16"))
    write("m.nii.gz", np.zeros((256, 256, 256), "uint8"))
    source = NiftiVolumes("i.nii.gz", "m.nii.gz")
    tracemalloc.start()
    try:
        for number in (100, 3):
            source.read(number)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20  # pieces of a MiB, of 32 MiB and 16 MiB
    assert len(list(Path().glob("zarrfeed-*/*.nii"))) == 2
    del source
    assert not list(Path().glob("zarrfeed-*"))


def test_a_full_disk_says_what_to_do(monkeypatch):
    case()
    source = NiftiVolumes("i", "m")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(decompressed.Path, "replace", full)
    with pytest.raises(SourceError, match=r"^i/case\.nii\.gz\[z=0\]: needed 772 .* set TMPDIR"):
        source.read(0)


def test_a_source_whose_scratch_folder_is_gone_makes_it_again():
    case()
    source = NiftiVolumes("i", "m")
    travelled = pickle.loads(pickle.dumps(source))
    expected = source.read(2)[0]
    del source
    np.testing.assert_array_equal(travelled.read(2)[0], expected)
    del travelled
    assert not list(Path().glob("zarrfeed-*"))


def test_copies_of_a_run_that_was_killed_are_removed_by_the_next():
    case()
    left = Path(f"zarrfeed-copies-{platform.node()}-abc")
    left.mkdir()
    (left / "copy.nii").write_bytes(b"voxels")
    os.utime(left, (0, 0))
    source = NiftiVolumes("i", "m")
    assert not left.exists()
    source.read(0)
    [mine] = Path().glob("zarrfeed-*")
    os.utime(mine, (0, 0))
    other = NiftiVolumes("i", "m")  # at the same time
    assert mine.exists()
    np.testing.assert_array_equal(other.read(1)[0], source.read(1)[0])


def test_the_source_travels_and_opens_again_by_its_description():
    case()
    source = NiftiVolumes(Path("i"), Path("m"), mask_map="2=1", axis=1, skip_empty=True)
    source.read(0)
    for again in (pickle.loads(pickle.dumps(source)), source_of(source.describe())):
        assert again.keys == source.keys
        assert again.describe() == source.describe()
        np.testing.assert_array_equal(again.read(3)[1], source.read(3)[1])


def test_packed_slices_are_the_volumes(tmp_path):
    for name in ("a", "b"):
        write(f"i/{name}.nii.gz", values(*SHAPE, seed=ord(name)))
        write(f"m/{name}.nii.gz", labels(*SHAPE, seed=ord(name)))
    convert(NiftiVolumes("i", "m"), tmp_path / "o.zarr", split="train", workers=2)
    split = zarr.open_group(str(tmp_path / "o.zarr/train"), mode="r")
    assert split["image"].dtype == np.int16
    keys = [bytes(key).rstrip(b"\0").decode() for key in split["key"][:]]
    assert sorted(keys) == [f"{name}/000{number}" for name in "ab" for number in range(5)]
    for place, key in enumerate(keys):
        name, number = key.split("/")
        expected = values(*SHAPE, seed=ord(name))[:, :, int(number)]
        np.testing.assert_array_equal(split["image"][place][..., 0], expected)
        np.testing.assert_array_equal(
            split["mask"][place], labels(*SHAPE, seed=ord(name))[:, :, int(number)]
        )
    assert not list(tmp_path.glob("zarrfeed-*"))


@pytest.mark.parametrize(
    ("unit", "size", "same"), [("micron", 1000.0, True), ("meter", 1.0, False)]
)
def test_volumes_of_other_units_are_compared_in_millimetres(tmp_path, unit, size, same):
    for name, of, spacing in (("image", "mm", 1.0), ("labels", unit, size)):
        values = np.zeros((3, 4, 2), np.uint8)
        volume = nib.Nifti1Image(values, np.diag([spacing, spacing, spacing, 1.0]))
        volume.header.set_xyzt_units(of)
        nib.save(volume, tmp_path / f"{name}.nii")
    arguments = {"images": tmp_path / "image.nii", "masks": tmp_path / "labels.nii"}
    if not same:
        with pytest.raises(SourceError, match="use --geometry warn"):
            open_source("nifti", arguments)
        arguments["ignore_affine"] = True
    assert len(open_source("nifti", arguments).keys) == 2
