"""A volume is the array, and its affine the positions, that SimpleITK and nibabel give."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import zarrfeed
from source_contract import require_packed
from zarrfeed.errors import SourceError
from zarrfeed_convert import Limits, convert
from zarrfeed_convert.formats import source_of
from zarrfeed_tools.cli import app

nib = pytest.importorskip("nibabel")
sitk: Any = pytest.importorskip("SimpleITK")
NiftiVolumes = pytest.importorskip("zarrfeed_convert.sources.stacks.nifti").NiftiVolumes

if TYPE_CHECKING:
    from numpy.typing import NDArray

DATA = Path(nib.__file__).parent / "tests/data"
SHAPE = (7, 6, 5)
OBLIQUE = np.array(
    [[0.62, -0.31, 1.1, -81.5], [0.4, 0.71, -0.6, 12.25], [-0.2, 0.4, 2.2, 33], [0, 0, 0, 1.0]]
)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def numbers(*shape: int, dtype: str = "int16", seed: int = 0) -> NDArray[Any]:
    drawn = np.random.default_rng(seed).integers(0, 200, shape)
    return drawn.astype(dtype)


def orthogonal(spacing: tuple[float, float, float]) -> NDArray[Any]:
    """Give an oblique affine without shear, which a quaternion can say."""
    turned, _ = np.linalg.qr(OBLIQUE[:3, :3])
    affine = np.eye(4)
    affine[:3, :3] = turned * np.array(spacing)
    affine[:3, 3] = (12.5, -40, 7)
    return affine


def write(
    path: str,
    array: NDArray[Any],
    affine: NDArray[Any] = OBLIQUE,
    *,
    codes: tuple[int, int] = (2, 0),
    endianness: str = "<",
    slope: tuple[float, float] | None = None,
    unit: str = "mm",
) -> Path:
    """Write a volume whose sform and qform have these codes."""
    header = nib.Nifti1Header(endianness=endianness)
    header.set_data_dtype(array.dtype)
    image = nib.Nifti1Image(array, None, header)
    image.header.set_xyzt_units(unit)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)  # which ITK compares with the sform
    image.header.set_zooms([*spacing, 1, 1][: array.ndim])
    image.set_sform(affine if codes[0] else None, codes[0])
    if codes[1]:
        image.set_qform(affine, codes[1])
    if slope:
        image.header.set_slope_inter(*slope)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    return Path(path)


def physical(path: Path, index: tuple[int, int, int]) -> NDArray[Any]:
    """Return the position of a voxel (x, y, z) by SimpleITK, in RAS."""
    found = sitk.ReadImage(str(path)).TransformIndexToPhysicalPoint([int(at) for at in index])
    return np.array(found) * (-1, -1, 1)  # ITK's x and y lead to the left and posterior


def require_as_itk(path: Path, **options: Any) -> None:
    """Require that a volume and the positions of its voxels are those that SimpleITK reads."""
    source = NiftiVolumes(path, as_="volumes", **options)
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    (volume,) = source.read(0)
    np.testing.assert_allclose(volume.reshape(array.shape), array, rtol=1e-6)
    affine = np.array(source.probe(0).affine)
    rng = np.random.default_rng(3)
    for _ in range(8):
        z, y, x = (int(rng.integers(0, size)) for size in volume.shape[:3])
        np.testing.assert_allclose(
            (affine @ (z, y, x, 1))[:3], physical(path, (x, y, z)), atol=2e-4
        )


@pytest.mark.parametrize("codes", [(2, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize("extension", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
def test_oblique_volumes_are_what_simpleitk_reads(codes, extension, dtype):
    require_as_itk(
        write(
            f"a{extension}", numbers(*SHAPE, dtype=dtype), orthogonal((0.8, 0.9, 2.5)), codes=codes
        )
    )


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1), (-1, 1, -1), (1, -1, -1)])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
def test_volumes_of_any_orientation_are_what_simpleitk_reads(signs, order):
    affine = np.eye(4)
    affine[:3, :3] = np.diag(np.array(signs) * (0.7, 0.7, 3))[list(order)]
    affine[:3, 3] = (-100, 50, 2)
    require_as_itk(write("a.nii", numbers(*SHAPE), affine))


@pytest.mark.parametrize("shape", [(1, 6, 5), (7, 1, 5), (7, 6, 1), (1, 1, 1)])
def test_thin_volumes_are_what_simpleitk_reads(shape):
    require_as_itk(write("a.nii.gz", numbers(*shape), orthogonal((1, 1, 5))))


def test_big_endian_and_scaled_volumes_are_what_simpleitk_reads():
    affine = orthogonal((1, 2, 3))
    require_as_itk(write("big.nii", numbers(*SHAPE), affine, endianness=">"))
    require_as_itk(write("s.nii.gz", numbers(*SHAPE), affine, slope=(0.25, -3.5)))
    require_as_itk(write("w.nii", numbers(*SHAPE, dtype="uint16"), affine, slope=(1, -1024)))
    source = NiftiVolumes("w.nii", as_="volumes")
    assert source.probe(0).dtype == source.read(0)[0].dtype == "int16"


@pytest.mark.parametrize("name", ["anatomical.nii", "functional.nii", "example4d.nii.gz",
                                  "example_nifti2.nii.gz", "reoriented_anat_moved.nii",
                                  "standard.nii.gz"])  # fmt: skip
def test_real_files_are_what_nibabel_reads(name):
    source = NiftiVolumes(DATA / name, as_="volumes")
    image = nib.load(DATA / name)
    expected = np.asarray(image.dataobj)
    (volume,) = source.read(0)
    if expected.ndim == 3:
        expected = expected[..., None]
    np.testing.assert_allclose(volume, expected.transpose(2, 1, 0, 3), rtol=1e-6)
    affine = np.array(source.probe(0).affine)
    np.testing.assert_allclose(affine[:, [2, 1, 0, 3]], image.affine, rtol=1e-12)
    assert source.keys == [name.partition(".")[0]]
    assert source.names(0) == (str(DATA / name),)


def test_real_volumes_of_one_value_are_what_simpleitk_reads():
    for name in ("anatomical.nii", "reoriented_anat_moved.nii"):
        require_as_itk(DATA / name)


def test_a_fourth_axis_files_and_colours_are_channels():
    stack = numbers(*SHAPE, 4)
    write("four.nii.gz", stack)
    (volume,) = NiftiVolumes("four.nii.gz", as_="volumes").read(0)
    np.testing.assert_array_equal(volume, stack.transpose(2, 1, 0, 3))
    for channel in range(4):
        write(f"i/a_000{channel}.nii.gz", stack[..., channel])
    several = NiftiVolumes("i", as_="volumes", image_suffix="_0000,_0001,_0002,_0003")
    np.testing.assert_array_equal(several.read(0)[0], volume)
    assert several.keys == ["a"]
    colors = np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    for number, name in enumerate("RGB"):
        colors[name] = numbers(*SHAPE, dtype="uint8", seed=number)
    write("rgb.nii", colors, orthogonal((1, 2, 3)))
    (volume,) = NiftiVolumes("rgb.nii", as_="volumes").read(0)
    expected = sitk.GetArrayFromImage(sitk.ReadImage("rgb.nii"))
    np.testing.assert_array_equal(volume, expected)


def test_labels_are_read_with_their_image_and_empty_or_absent_ones_are_known():
    ids = numbers(*SHAPE, dtype="uint8") % 3
    for name, labels in (("a", ids), ("b", ids * 0), ("c", np.eye(5, dtype=np.uint8)[ids])):
        write(f"i/{name}.nii.gz", numbers(*SHAPE))
        write(f"m/{name}.nii.gz", labels if labels.ndim == 3 else ids * 100)
    source = NiftiVolumes("i", "m", as_="volumes")
    assert source.keys == ["a", "b", "c"]
    np.testing.assert_array_equal(source.read(0)[1], ids.transpose(2, 1, 0))
    np.testing.assert_array_equal(source.read_mask(0), source.read(0)[1])
    assert not source.read(1)[1].any()
    assert source.probe(0).mask.shape == (5, 6, 7)
    full = NiftiVolumes("i", "m", as_="volumes", skip_empty=True)
    assert full.keys == ["a", "c"]
    assert full.describe()["facts"]["empty_volumes_left_out"] == 1
    alone = NiftiVolumes("i", as_="volumes")
    assert [len(alone.read(sample)) for sample in range(3)] == [1, 1, 1]
    with pytest.raises(SourceError, match="every volume was left out as empty"):
        NiftiVolumes("i/b.nii.gz", "m/b.nii.gz", as_="volumes", skip_empty=True)


def test_ids_beyond_eight_bits_in_a_later_part_are_kept(monkeypatch):
    cases = pytest.importorskip("zarrfeed_convert.sources.stacks.volume_cases")
    monkeypatch.setattr(cases, "_VOXELS", 42)  # a plane at a time
    ids = np.zeros(SHAPE, np.int32)
    ids[..., 1], ids[..., 3] = 7, 700
    write("i.nii", numbers(*SHAPE))
    write("m.nii", ids)
    source = NiftiVolumes("i.nii", "m.nii", as_="volumes")
    mask = source.read(0)[1]
    np.testing.assert_array_equal(mask, ids.transpose(2, 1, 0))
    assert mask.dtype == np.uint16


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
def test_law_a_window_is_that_part_of_the_volume(data):
    cases = pytest.importorskip("zarrfeed_convert.sources.stacks.volume_cases")
    shape = tuple(data.draw(st.integers(1, 6)) for _ in range(3))
    channels = data.draw(st.sampled_from([(), (2,)]))
    write("i.nii", numbers(*shape, *channels))
    write("m.nii", numbers(*shape, dtype="uint8", seed=1))
    source = NiftiVolumes("i.nii", "m.nii", as_="volumes")
    window = []
    for size in reversed(shape):
        start = data.draw(st.integers(0, size - 1))
        window.append(slice(start, data.draw(st.integers(start + 1, size))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cases, "_VOXELS", data.draw(st.integers(1, 60)))
        whole, found = source.read(0), source.read_window(0, tuple(window))
    assert source.reads_windows(0)
    for values, part in zip(whole, found, strict=True):
        np.testing.assert_array_equal(part, values[tuple(window)])
        assert part.flags.c_contiguous
        assert part.flags.writeable


@pytest.mark.parametrize("unit", ["micron", "meter"])
def test_affines_are_in_millimetres(unit):
    scale = {"micron": 1e3, "meter": 1e-3}[unit]
    affine = orthogonal((0.5, 0.5, 2)) @ np.diag([scale, scale, scale, 1])
    affine[:3, 3] *= scale
    path = write("a.nii", numbers(*SHAPE), affine, unit=unit)
    found = np.array(NiftiVolumes(path, as_="volumes").probe(0).affine)
    np.testing.assert_allclose(found[:, [2, 1, 0, 3]], orthogonal((0.5, 0.5, 2)), rtol=1e-5)


def test_an_affine_that_places_nothing_is_not_said():
    write("a.nii", numbers(*SHAPE), np.diag([1, 0, 1, 1.0]))
    assert NiftiVolumes("a.nii", as_="volumes").probe(0).affine is None


def test_labels_in_another_orientation_are_turned_to_the_image():
    ids = numbers(*SHAPE, dtype="uint8") % 5
    affine = orthogonal((0.8, 0.9, 2.5))
    write("i.nii", numbers(*SHAPE), affine)
    image = nib.Nifti1Image(ids, affine)
    turn = nib.orientations.axcodes2ornt("PIR")
    turned = image.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(affine), turn))
    write("m.nii", np.asarray(turned.dataobj), turned.affine)
    assert turned.shape != image.shape
    source = NiftiVolumes("i.nii", "m.nii", as_="volumes")
    np.testing.assert_array_equal(source.read(0)[1], ids.transpose(2, 1, 0))
    part = slice(1, 3), slice(0, 6), slice(2, 7)
    np.testing.assert_array_equal(source.read_window(0, part)[1], ids.transpose(2, 1, 0)[part])


def elsewhere(change: NDArray[Any], *, shape: tuple[int, ...] = SHAPE) -> None:
    affine = orthogonal((1, 1, 2))
    write("i.nii", numbers(*shape), affine)
    write("m.nii", numbers(*shape, dtype="uint8") % 3, affine @ change)


@pytest.mark.parametrize(
    ("change", "shape", "said"),
    [
        (np.diag([1, 1, 1.02, 1]), (7, 6, 1), "corners are up to 0 mm (0 voxels) apart, "
         "spacings are 1×1×2 and 1×1×2.04 mm"),
        (np.diag([1, 1, 1.03, 1]), SHAPE, "corners are up to 0.24 mm (0.24 voxels) apart, "
         "spacings are 1×1×2 and 1×1×2.06 mm"),
        (np.eye(4) + 0.5 * np.eye(4, k=3), SHAPE, "corners are up to 0.5 mm (0.5 voxels) apart"),
    ],
)  # fmt: skip
def test_labels_elsewhere_are_refused_by_how_far_they_are(change, shape, said):
    elsewhere(change, shape=shape)
    with pytest.raises(SourceError) as refused:
        NiftiVolumes("i.nii", "m.nii", as_="volumes")
    text = str(refused.value)
    assert text.startswith("i.nii: needed volumes at the same position, found the affine [[")
    assert " in m.nii: " in text
    assert said in text
    assert text.endswith("if their voxels match anyway, use --geometry warn (look up: geometry)")
    warned = NiftiVolumes("i.nii", "m.nii", as_="volumes", geometry="warn")
    ids = numbers(*shape, dtype="uint8") % 3
    np.testing.assert_array_equal(warned.read(0)[1], ids.transpose(2, 1, 0))
    assert said in warned.remarks[0][2]
    again = source_of(warned.describe())
    assert again.describe() == warned.describe()
    assert warned.describe()["geometry"] == "warn"
    if shape == SHAPE:
        text = str(convert(warned, "o.zarr", split="train", tile=(4, 4, 4), workers=1))
        assert f"geometry: 1 file elsewhere: {warned.remarks[0][2]}" in text


@pytest.mark.parametrize(
    "change", [np.diag([1, 1, 1.004, 1]), np.eye(4) + 0.09 * np.eye(4, k=3), np.eye(4) + 1e-4]
)
def test_labels_within_the_tolerance_are_accepted(change):
    change[3] = (0, 0, 0, 1)
    elsewhere(change)
    source = NiftiVolumes("i.nii", "m.nii", as_="volumes")
    assert source.remarks == ()
    assert source.left_out == ()


def test_channels_elsewhere_are_refused_too():
    write("i/a_0.nii", numbers(*SHAPE))
    write("i/a_1.nii", numbers(*SHAPE), OBLIQUE + np.eye(4, k=3))
    with pytest.raises(SourceError, match=r"^i/a_0.nii: .* in i/a_1.nii: corners are up to"):
        NiftiVolumes("i", as_="volumes", image_suffix="_0,_1")
    warned = NiftiVolumes("i", as_="volumes", image_suffix="_0,_1", geometry="warn")
    assert warned.probe(0).channels == 2
    assert warned.remarks


def test_shapes_must_agree_even_with_a_warning():
    write("i.nii", numbers(*SHAPE))
    write("m.nii", numbers(6, 7, 5, dtype="uint8"))
    with pytest.raises(SourceError, match=r"found 7×6×5, but 6×7×5 in m\.nii; resample one"):
        NiftiVolumes("i.nii", "m.nii", as_="volumes", geometry="warn")


def test_options_for_slices_are_refused_with_advice():
    write("i.nii", numbers(*SHAPE))
    with pytest.raises(SourceError, match=r"axis: needed none with --as volumes.* found 1"):
        NiftiVolumes("i.nii", as_="volumes", axis=1)
    with pytest.raises(SourceError, match="use --orient RAS instead"):
        NiftiVolumes("i.nii", as_="volumes", canonical=True)
    with pytest.raises(SourceError, match="--as: needed slices or volumes, found 'volume'; did"):
        NiftiVolumes("i.nii", as_="volume")
    with pytest.raises(SourceError, match="--geometry: needed strict or warn, found 'loose'"):
        NiftiVolumes("i.nii", geometry="loose")


def test_a_volume_larger_than_a_sample_may_be_is_read_in_parts_alone():
    write("i.nii", numbers(64, 64, 64))
    source = NiftiVolumes("i.nii", as_="volumes", limits=Limits(sample_nbytes=1 << 16))
    part = slice(3, 4), slice(0, 64), slice(0, 64)
    assert source.read_window(0, part)[0].shape == (1, 64, 64, 1)
    with pytest.raises(SourceError, match=r"^i\.nii: needed a volume of at most 0 MiB|65536 bytes"):
        source.read(0)
    with pytest.raises(SourceError, match=r"^i\.nii: needed a slice of at most"):
        NiftiVolumes("i.nii", as_="volumes", limits=Limits(sample_nbytes=1 << 12))


def test_slices_are_described_as_before_there_were_volumes():
    write("i.nii", numbers(*SHAPE))
    assert not {"as_", "geometry"} & NiftiVolumes("i.nii").describe().keys()
    assert NiftiVolumes("i.nii", as_="volumes").describe()["as_"] == "volumes"


def test_volumes_of_one_size_are_packed_as_samples(tmp_path):
    volumes, masks = [], []
    for name in "abc":
        volumes.append(numbers(*SHAPE, seed=ord(name)).transpose(2, 1, 0)[..., None])
        masks.append(volumes[-1][..., 0].astype(np.uint8) % 3)
        write(f"i/{name}.nii.gz", volumes[-1][..., 0].transpose(2, 1, 0))
        write(f"m/{name}.nii.gz", masks[-1].transpose(2, 1, 0))
    source = NiftiVolumes("i", "m", as_="volumes")
    require_packed(source, tmp_path / "o.zarr", volumes, masks)


@pytest.mark.parametrize(
    ("options", "keys"),
    [
        (["--tile", "4x4x4"], ["a", "b"]),
        (["--tile", "auto"], ["a", "b"]),
        (["--tile", "8x8"], [f"{name}/000{z}" for name in "ab" for z in range(5)]),
        (
            ["--tile", "8x8", "--as", "slices"],
            [f"{name}/000{z}" for name in "ab" for z in range(5)],
        ),
        (["--tile", "4x4x4", "--geometry", "warn"], ["a", "b"]),
    ],
)
def test_tiles_say_whether_samples_are_slices_or_volumes(options, keys, tmp_path):
    for name in "ab":
        write(f"i/{name}.nii.gz", numbers(*SHAPE, seed=ord(name)), orthogonal((1, 1, 2)))
        ids = numbers(*SHAPE, dtype="uint8", seed=ord(name)) % 3
        write(f"m/{name}.nii.gz", ids, orthogonal((1, 1, 2)))
    command = ["convert", "o.zarr", "--split", "train", "--format", "nifti", "--workers", "1"]
    done = CliRunner().invoke(app, [*command, "--images", "i", "--masks", "m", *options])
    assert done.exit_code == 0, done.output
    split = zarr.open_group("o.zarr/train", mode="r")
    found = [bytes(row).rstrip(b"\0").decode() for row in split["case_key"][:]]
    assert sorted(found) == keys
    if "4x4x4" not in options:
        return
    for name in "ab":
        case = zarrfeed.open_case("o.zarr/train", name)
        expected = numbers(*SHAPE, seed=ord(name)).transpose(2, 1, 0)[..., None]
        np.testing.assert_array_equal(case[:], expected)
    affine = split["case_affine"][0]
    np.testing.assert_allclose(affine[:, [2, 1, 0, 3]], orthogonal((1, 1, 2)), atol=1e-5)
    np.testing.assert_allclose(split["case_spacing"][0], [2, 1, 1], rtol=1e-6)


def test_labels_with_a_channel_per_class_are_ids_or_kept(monkeypatch):
    cases = pytest.importorskip("zarrfeed_convert.sources.stacks.volume_cases")
    monkeypatch.setattr(cases, "_VOXELS", 42)
    ids = numbers(*SHAPE, dtype="uint8") % 4
    channels = np.eye(4, dtype=np.uint8)[ids]
    write("i.nii.gz", numbers(*SHAPE))
    write("m.nii.gz", channels)
    by_id = NiftiVolumes("i.nii.gz", "m.nii.gz", as_="volumes", mask_map="one-hot=0")
    np.testing.assert_array_equal(by_id.read(0)[1], ids.transpose(2, 1, 0))
    kept = NiftiVolumes("i.nii.gz", "m.nii.gz", as_="volumes", mask_map="multi-hot")
    np.testing.assert_array_equal(kept.read(0)[1], channels.transpose(2, 1, 0, 3))
    assert kept.probe(0).mask.shape == (5, 6, 7, 4)
    with pytest.raises(SourceError, match="needed masks of one value per pixel"):
        NiftiVolumes("i.nii.gz", "m.nii.gz", as_="volumes")


def test_a_volume_that_cannot_be_read_ends_the_run_or_is_skipped(tmp_path):
    for name in "abc":
        write(f"i/{name}.nii.gz", numbers(*SHAPE, seed=ord(name)))
        write(f"m/{name}.nii.gz", numbers(*SHAPE, dtype="uint8", seed=ord(name)) % 3)
    data = Path("i/b.nii.gz").read_bytes()
    Path("i/b.nii.gz").write_bytes(data[: len(data) // 2])
    source = NiftiVolumes("i", "m", as_="volumes")
    options: dict[str, Any] = {"split": "train", "tile": (4, 4, 4), "classes": 3, "workers": 1}
    with pytest.raises(SourceError, match=r"i/b\.nii\.gz: cannot be read"):
        convert(source, "o.zarr", **options)
    report = convert(source, "o.zarr", on_error="skip", restart=True, **options)
    assert [name for name, _ in report.skipped] == ["i/b.nii.gz"]
    for name in "ac":
        case = zarrfeed.open_case("o.zarr/train", name)
        expected = numbers(*SHAPE, seed=ord(name)).transpose(2, 1, 0)[..., None]
        np.testing.assert_array_equal(case[:], expected)


def test_files_without_an_orientation_are_counted_and_not_turned():
    """Programs guess: nibabel and SimpleITK differ."""
    for name in ("i/a.nii", "i/b.nii", "m/a.nii", "m/b.nii"):
        codes = (0, 0) if name.endswith("a.nii") else (2, 0)
        ids = numbers(*SHAPE, dtype="uint8") % 2
        write(name, ids, np.diag([1, 1.5, 2, 1.0]) if codes == (2, 0) else np.eye(4), codes=codes)
    source = NiftiVolumes("i", "m", as_="volumes")
    report = convert(source, "o.zarr", split="s", tile=(4, 4, 4), workers=1)
    [told] = [line for line in report.remarks if line.startswith("no orientation: ")]
    assert told.startswith("no orientation: 2 files: neither qform nor sform")
    assert str(Path("i/a.nii")) in told
    with pytest.raises(
        SourceError,
        match=r"i/a\.nii: needed an orientation .*neither qform nor sform.*--orient keep",
    ):
        convert(source, "r.zarr", split="s", orient="RAS", tile=(4, 4, 4), workers=1)
    convert(source, "r.zarr", split="s", spacing=(2, 0.5, 1), tile=(4, 4, 4), workers=1)
    sizes = zarr.open_array("r.zarr/s/case_size")[:]
    assert sorted(sizes.tolist()) == [[2, 12, 7], [5, 18, 7]]  # by the spacings of the files


def test_slices_of_files_without_an_orientation_are_counted_and_not_turned():
    write("i/a.nii", numbers(*SHAPE), np.eye(4), codes=(0, 0))
    assert [what for what, _, _ in NiftiVolumes("i").remarks] == ["no orientation"]
    with pytest.raises(SourceError, match=r"a\.nii: needed a qform or sform.*canonical=yes"):
        NiftiVolumes("i", canonical=True)


@pytest.mark.parametrize("codes", [(2, 0), (0, 1), (1, 1)])
def test_a_qform_or_an_sform_says_the_orientation(codes):
    write("i/a.nii", numbers(*SHAPE), orthogonal((1, 1, 2)), codes=codes)
    source = NiftiVolumes("i", as_="volumes")
    assert source.probe(0).oriented
    assert not source.remarks
