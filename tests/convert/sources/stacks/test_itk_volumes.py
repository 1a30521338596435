"""A volume of any format is the array, and its affine the positions, that SimpleITK reads."""

from __future__ import annotations

import gzip
import locale
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np
import pytest
import zarr

from source_contract import require_source
from stored_samples import arrays
from zarrfeed.errors import SourceError
from zarrfeed_convert import Limits, convert, verify
from zarrfeed_convert.sources.stacks.nifti import NiftiVolumes

sitk: Any = pytest.importorskip("SimpleITK")
ItkVolumes = pytest.importorskip("zarrfeed_convert.sources.stacks.itk_volumes").ItkVolumes

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHAPE = (5, 6, 7)
SMALL = Limits(sample_nbytes=1 << 20)
ORIENTED = (".nrrd", ".nhdr", ".mha", ".mhd")
FORMATS = (*ORIENTED, ".gipl", ".gipl.gz", ".hdr", ".vtk", ".mrc")
# Where the voxels of formats are that keep them in another file.
VOXELS = {".nhdr": ".raw", ".mhd": ".raw", ".hdr": ".img"}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")


def numbers(*shape: int, dtype: str = "int16", seed: int = 0) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(0, 200, shape).astype(dtype)


def direction(seed: int = 1) -> NDArray[Any]:
    turned, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((3, 3)))
    return turned * np.sign(np.linalg.det(turned))


def write(
    path: str, array: NDArray[Any], *, packed: bool = False, turned: NDArray[Any] | None = None
) -> Path:
    Path(path).parent.mkdir(exist_ok=True)
    image = sitk.GetImageFromArray(array, isVector=array.ndim > 3)
    image.SetSpacing((0.5, 0.75, 2.5))
    image.SetOrigin((-10, 20, 30))
    image.SetDirection((np.eye(3) if turned is None else turned).ravel().tolist())
    sitk.WriteImage(image, path, packed)
    return Path(path)


def replace(path: str, before: str, after: str) -> None:
    data = Path(path).read_bytes()
    assert before.encode() in data
    Path(path).write_bytes(data.replace(before.encode(), after.encode(), 1))


def refused(match: str, path: str = "a.mhd", **options: Any) -> None:
    with pytest.raises(SourceError, match=match):
        ItkVolumes(path, **{"as_": "volumes", "limits": SMALL, **options})


# -- What SimpleITK and nibabel read ---------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("extension", FORMATS)
def test_volumes_and_positions_are_those_of_simpleitk(extension, packed):
    turned = direction() if extension in ORIENTED else None
    path = write(f"a{extension}", numbers(*SHAPE), packed=packed, turned=turned)
    image = sitk.ReadImage(str(path))
    source = ItkVolumes(path, as_="volumes")
    (volume,) = source.read(0)
    np.testing.assert_array_equal(volume[..., 0], sitk.GetArrayFromImage(image))
    assert volume.dtype == source.probe(0).dtype == "int16"
    affine = np.array(source.probe(0).affine)
    scale = 1e-7 if extension == ".mrc" else 1.0  # Ångström
    for index in ((0, 0, 0), (6, 0, 0), (0, 5, 0), (0, 0, 4), (3, 2, 1)):
        there = np.array(image.TransformIndexToPhysicalPoint(index)) * (-scale, -scale, scale)
        np.testing.assert_allclose((affine @ (*index[::-1], 1))[:3], there, atol=1e-5)


@pytest.mark.parametrize("extension", ORIENTED)
def test_the_same_volume_as_nifti_becomes_the_same_store(extension):
    for name, dtype in (("i", "int16"), ("m", "uint8")):
        values = numbers(*SHAPE, dtype=dtype) % (3 if name == "m" else 200)
        for end in (".nii.gz", extension):
            write(f"{name}/a{end}", values.astype(dtype), packed=True, turned=direction())
    options = {"tile": (4, 4, 4), "split": "s", "classes": 3, "codec": "raw", "workers": 1}
    convert(NiftiVolumes("i", "m", as_="volumes"), "nifti.zarr", **options)
    convert(ItkVolumes("i", "m", as_="volumes"), "itk.zarr", **options)
    found, expected = (arrays(Path(out, "s")) for out in ("itk.zarr", "nifti.zarr"))
    assert found.keys() == expected.keys()
    of_place = ("case_affine", "case_spacing")
    for name, data in expected.items():
        assert name.startswith(of_place) or found[name] == data, name
    for name in of_place:
        one, other = (zarr.open_array(f"{out}.zarr/s/{name}")[:] for out in ("itk", "nifti"))
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    assert verify("itk.zarr", source=True, workers=1).ok
    image = nib.load("i/a.nii.gz")
    np.testing.assert_allclose(one[0], nib.affines.voxel_sizes(image.affine)[::-1], rtol=1e-5)


@pytest.mark.parametrize(
    ("extension", "as_"),
    [*((extension, "volumes") for extension in FORMATS), (".nrrd", "slices"), (".mha", "slices")],
)
def test_it_is_a_source(extension, as_):
    images, masks = [], []
    for case in range(2):
        image, mask = numbers(*SHAPE, seed=case), numbers(*SHAPE, dtype="uint8", seed=case) % 3
        write(f"i/{case}{extension}", image)
        write(f"m/{case}{extension}", mask.astype("uint8"))
        images += [image] if as_ == "volumes" else list(image)
        masks += [mask] if as_ == "volumes" else list(mask)
    source = ItkVolumes("i", "m", as_=as_)
    require_source(source, [image[..., np.newaxis] for image in images], masks)
    assert source.describe()["kind"] == "itk"


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("end", [".mha", ".nrrd"])
def test_slices_along_an_axis_are_those_of_the_array(axis, end):
    values = numbers(*SHAPE)
    source = ItkVolumes(write(f"a{end}", values), axis=axis)
    for number in range(SHAPE[2 - axis]):
        expected = values.take(number, axis=2 - axis)
        np.testing.assert_array_equal(source.read(number)[0][..., 0], expected)
    assert source.names(1) == (f"a{end}[{'xyz'[axis]}=1]",)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int32", "uint32", "float32",
                                   "float64"])  # fmt: skip
@pytest.mark.parametrize("end", [".nrrd", ".mha"])
def test_values_keep_their_dtype(end, dtype):
    values = numbers(*SHAPE, dtype=dtype)
    (volume,) = ItkVolumes(write(f"a{end}", values), as_="volumes").read(0)
    assert volume.dtype == dtype
    np.testing.assert_array_equal(volume[..., 0], values)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("end", [".nrrd", ".mhd", ".vtk"])
def test_voxels_of_several_values_have_channels(end, packed):
    values = numbers(*SHAPE, 3, dtype="float32")
    source = ItkVolumes(write(f"a{end}", values, packed=packed), as_="volumes")
    np.testing.assert_array_equal(source.read(0)[0], values)
    part = slice(1, 3), slice(0, 4), slice(2, 7)
    np.testing.assert_array_equal(source.read_window(0, part)[0], values[part])
    for number, plane in enumerate(values):
        found = ItkVolumes(f"a{end}").read(number)[0]
        np.testing.assert_array_equal(found, plane)


def test_files_are_channels():
    for channel in range(2):
        write(f"i/a_{channel}.nrrd", numbers(*SHAPE, seed=channel))
    (volume,) = ItkVolumes("i", as_="volumes", image_suffix="_0,_1").read(0)
    np.testing.assert_array_equal(volume[..., 1], numbers(*SHAPE, seed=1))


def test_an_image_of_two_axes_is_a_volume_of_one_plane():
    image = sitk.GetImageFromArray(numbers(6, 7))
    sitk.WriteImage(image, "a.mha")
    source = ItkVolumes("a.mha")
    np.testing.assert_array_equal(source.read(0)[0][..., 0], numbers(6, 7))
    assert ItkVolumes("a.mha", as_="volumes").probe(0).affine is None


def test_volumes_of_several_axes_are_refused_by_name():
    sitk.WriteImage(sitk.JoinSeries([sitk.GetImageFromArray(numbers(*SHAPE))] * 2), "a.nrrd")
    refused(r"^a\.nrrd: needed a volume of 3 axes.*found 7×6×5×2; save each", "a.nrrd")


def test_complex_numbers_are_refused():
    sitk.WriteImage(sitk.GetImageFromArray(numbers(*SHAPE).astype("complex64")), "a.nrrd")
    refused("needed voxels that are numbers, found complex of 32-bit float", "a.nrrd")


def test_classes_are_named_by_a_dataset_json():
    write("i/a.mha", numbers(*SHAPE))
    write("m/a.mha", numbers(*SHAPE, dtype="uint8") % 2)
    Path("dataset.json").write_text('{"labels": {"background": 0, "bone": 1}}')
    assert ItkVolumes("i", "m").classes == ("background", "bone")


# -- Where they lie --------------------------------------------------------------------------------


def test_labels_in_another_orientation_are_turned_to_the_image():
    ids = numbers(*SHAPE, dtype="uint8") % 5
    write("i.nrrd", numbers(*SHAPE))
    image = sitk.ReadImage(str(write("m.mha", ids)))
    turned = sitk.Flip(sitk.PermuteAxes(image, [2, 0, 1]), [True, False, True])
    sitk.WriteImage(turned, "m.mha", True)
    source = ItkVolumes("i.nrrd", "m.mha", as_="volumes")
    np.testing.assert_array_equal(source.read(0)[1], ids)


def test_labels_elsewhere_are_refused_unless_that_is_accepted():
    write("i.mha", numbers(*SHAPE))
    write("m.mha", numbers(*SHAPE, dtype="uint8") % 2)
    replace("m.mha", "Offset = -10 20 30", "Offset = -10 20 31")
    with pytest.raises(SourceError, match=r"^i\.mha: .* in m\.mha: corners are up to 1 mm"):
        ItkVolumes("i.mha", "m.mha", as_="volumes")
    warned = ItkVolumes("i.mha", "m.mha", as_="volumes", geometry="warn")
    assert warned.remarks[0][1] == "1 file elsewhere"
    write("m.mha", numbers(6, 6, 7, dtype="uint8") % 2)
    with pytest.raises(SourceError, match="needed volumes of one shape, found 5×6×7, but 6×6×7"):
        ItkVolumes("i.mha", "m.mha", as_="volumes", geometry="warn")


@pytest.mark.parametrize("end", ORIENTED)
def test_volumes_are_turned_and_resampled_as_those_of_nifti(end):
    for path in ("a.nii", f"a{end}"):
        write(path, numbers(*SHAPE), turned=np.diag([1.0, -1, -1])[[1, 0, 2]])
    for out, source in (
        ("n", NiftiVolumes("a.nii", as_="volumes")),
        ("i", ItkVolumes(f"a{end}", as_="volumes")),
    ):
        convert(source, out, split="s", orient="RAS", spacing=(2, 1, 1), tile=(4, 4, 4), workers=1)
    one, other = (zarr.open_group(out, mode="r")["s"] for out in "in")
    np.testing.assert_array_equal(one["image"][:], other["image"][:])
    np.testing.assert_allclose(one["case_affine"][:], other["case_affine"][:], atol=1e-5)


@pytest.mark.parametrize("end", [".gipl", ".vtk"])
def test_formats_without_an_orientation_are_not_turned(end):
    source = ItkVolumes(write(f"a{end}", numbers(*SHAPE)), as_="volumes")
    [(what, count, why)] = source.remarks
    assert (what, count) == ("no orientation", "1 file")
    assert f"the first is a{end}" in why
    with pytest.raises(SourceError, match=r"needed an orientation .* \(--orient keep\)"):
        convert(source, "o.zarr", split="s", orient="RAS", tile=(4, 4, 4), workers=1)


def test_nrrd_without_a_space_says_no_orientation():
    assert ItkVolumes(write("a.nrrd", numbers(*SHAPE)), as_="volumes").probe(0).oriented
    replace("a.nrrd", "space: left-posterior-superior", "space: scanner-xyz")
    assert not ItkVolumes("a.nrrd", as_="volumes").probe(0).oriented


# -- What headers claim and name -------------------------------------------------------------------


@pytest.mark.parametrize("end", [end for end in FORMATS if not end.endswith("z")])
@pytest.mark.parametrize("missing", [1, 200])
def test_a_file_that_ends_early_is_refused_by_name(end, missing):
    path = write(f"a{end}", numbers(*SHAPE))
    voxels = path.with_suffix(VOXELS.get(end, end))
    voxels.write_bytes(voxels.read_bytes()[:-missing])
    refused(rf"^a\{end}: needed 420 bytes of voxels .*the file ends early", f"a{end}")


@pytest.mark.parametrize("end", [".nrrd", ".mha", ".gipl.gz"])
def test_a_compressed_file_that_ends_early_is_refused_by_name(end):
    path = write(f"a{end}", numbers(*SHAPE), packed=True)
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(SourceError, match=rf"^a\{end}: "):
        ItkVolumes(path, as_="volumes").read(0)


@pytest.mark.parametrize(
    ("end", "before", "after"),
    [
        (".mha", "DimSize = 7 6 5", "DimSize = 7000 6000 5"),
        (".mha", "DimSize = 7 6 5", "DimSize = 7 6 50000000"),
        (".nrrd", "sizes: 7 6 5", "sizes: 7000 6000 50000"),
        (".vtk", "DIMENSIONS 7 6 5", "DIMENSIONS 7000 6000 50000"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_claims_are_compared_with_limits_and_files(end, before, after, packed):
    write(f"a{end}", numbers(*SHAPE), packed=packed)
    replace(f"a{end}", before, after)
    refused(rf"^a\{end}: needed (a \w+ of at most 1 MiB|\d+ bytes of voxels)", f"a{end}")


def test_a_bomb_is_refused_by_its_claim():
    head = b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 4096 4096 1024\nencoding: gzip\n\n"
    Path("a.nrrd").write_bytes(head + gzip.compress(bytes(16 << 20)))
    refused(r"a\.nrrd: needed a volume of at most 1 MiB, found one that claims 1024×4096×4096",
            "a.nrrd")  # fmt: skip


def test_a_claim_of_compressed_bytes_is_compared_with_the_file():
    write("a.mha", numbers(*SHAPE), packed=True)
    data = Path("a.mha").read_bytes()
    at = data.index(b"CompressedDataSize = ") + 21
    end = data.index(b"\n", at)
    Path("a.mha").write_bytes(data[:at] + b"99999999999999" + data[end:])
    refused("compressed bytes, found a claim of '99999999999999'", "a.mha")


def test_a_large_metaimage_is_read_in_parts_alone():
    write("a.mha", numbers(64, 96, 128))
    limits = Limits(sample_nbytes=1 << 20)
    source = ItkVolumes("a.mha", as_="volumes", limits=limits)
    part = slice(40, 44), slice(5, 50), slice(60, 128)
    expected = numbers(64, 96, 128)
    np.testing.assert_array_equal(source.read_window(0, part)[0][..., 0], expected[part])
    assert source.memory_nbytes == 0
    with pytest.raises(SourceError, match="--tile 64x64x64"):
        source.read(0)
    write("a.nrrd", expected)
    refused("a volume of at most 1 MiB.*or save it as .mha without compression", "a.nrrd")


@pytest.mark.parametrize("as_", ["slices", "volumes"])
def test_files_are_decoded_once(as_, monkeypatch):
    module = pytest.importorskip("zarrfeed_convert.sources.stacks.itk_files")
    decoded, done = module._decoded, []
    monkeypatch.setattr(module, "_decoded", lambda volume: done.append(volume) or decoded(volume))
    source = ItkVolumes(write("a.nrrd", numbers(*SHAPE), packed=True), as_=as_)
    again = pickle.loads(pickle.dumps(source))
    for number in range(len(source.keys)):
        source.read(number)
        again.read(number)
    assert len(done) == (1 if as_ == "slices" else 2)


# -- Files that headers name -----------------------------------------------------------------------

MHD = """ObjectType = Image
NDims = 3
BinaryData = True
BinaryDataByteOrderMSB = False
DimSize = 7 6 5
ElementType = MET_SHORT
ElementDataFile = {}
"""
NHDR = """NRRD0004
type: short
dimension: 3
sizes: 7 6 5
endian: little
encoding: raw
data file: {}
"""


def write_header(path: str, data: str) -> None:
    text = NHDR if path.endswith(".nhdr") else MHD
    Path(path).write_text(text.format(data), "utf-8")


@pytest.mark.parametrize("path", ["a.mhd", "a.nhdr"])
@pytest.mark.parametrize("data", ["sub/v.raw", "./sub/v.raw"])
def test_voxels_may_be_in_a_file_below(path, data):
    Path("sub").mkdir()
    Path("sub/v.raw").write_bytes(numbers(*SHAPE).tobytes())
    write_header(path, data)
    (volume,) = ItkVolumes(path, as_="volumes").read(0)
    np.testing.assert_array_equal(volume[..., 0], numbers(*SHAPE))


@pytest.mark.parametrize("path", ["a.mhd", "a.nhdr"])
@pytest.mark.parametrize("data", ["LIST\np0.raw\np1.raw\np2.raw\np3.raw\np4.raw", "p%d.raw 0 4 1"])
def test_voxels_may_be_in_a_file_per_plane(path, data):
    for number, plane in enumerate(numbers(*SHAPE)):
        Path(f"p{number}.raw").write_bytes(plane.tobytes())
    write_header(path, data)
    (volume,) = ItkVolumes(path, as_="volumes").read(0)
    np.testing.assert_array_equal(volume[..., 0], numbers(*SHAPE))
    Path("p3.raw").unlink()
    refused(r"needed its voxels in p3\.raw, found no such file", path)


@pytest.mark.parametrize("path", ["a.mhd", "a.nhdr"])
@pytest.mark.parametrize(
    "data", ["../v.raw", "{there}/v.raw", "LIST\n../v.raw", "LIST 2\n{there}/v.raw",
             "../v%d.raw 1 1 1"]
)  # fmt: skip
def test_files_outside_are_read_only_where_they_are_allowed(path, data, tmp_path):
    for name in ("v.raw", "v1.raw"):
        (tmp_path / name).write_bytes(numbers(*SHAPE).tobytes())
    data = data.format(there=tmp_path)
    write_header(path, data)
    refused(rf"^{path}: needed all data inside the dataset.*--allow-external", path)
    if "LIST" in data or "%" in data:
        return
    source = ItkVolumes(path, as_="volumes", limits=Limits(external=True))
    np.testing.assert_array_equal(source.read(0)[0][..., 0], numbers(*SHAPE))


def test_links_are_followed_since_their_owner_made_them(tmp_path):
    (tmp_path / "v.raw").write_bytes(numbers(*SHAPE).tobytes())
    Path("v.raw").symlink_to(tmp_path / "v.raw")
    write_header("a.mhd", "v.raw")
    np.testing.assert_array_equal(ItkVolumes("a.mhd").read(2)[0][..., 0], numbers(*SHAPE)[2])


@pytest.mark.parametrize("path", ["a.mhd", "a.nhdr"])
@pytest.mark.parametrize(
    "data", ["-", "%s%n 1 2 1", "p%d%d.raw 1 2 1", "p%d.raw 0 999999999 1", "p%d.raw", "LIST",
             "LISTED\nv.raw", "p%d.raw 0 4 0"]
)  # fmt: skip
def test_names_that_programs_could_misread_are_refused(path, data):
    write_header(path, data)
    refused(rf"^{path}: needed (the names of|a name, or a pattern)", path)


@pytest.mark.parametrize(
    "hidden",
    [
        "Comment =\nElementDataFile = LOCAL\nElementDataFile = ../v.raw\n",
        "Comment\nElementDataFile = LOCAL\nElementDataFile = ../v.raw\n",
        "Comment = x\rElementDataFile = ../v.raw\n",
        " Comment = x\n",
        "\n",
    ],
)
def test_lines_that_could_hide_a_name_are_refused(hidden, tmp_path):
    (tmp_path / "v.raw").write_bytes(numbers(*SHAPE).tobytes())
    text = MHD.partition("ElementDataFile")[0] + hidden + "ElementDataFile = LOCAL\n"
    Path("a.mha").write_bytes(text.encode() + numbers(*SHAPE).tobytes())
    refused(r"^a\.mha: needed a (line like|header of text)", "a.mha")


@pytest.mark.parametrize(
    ("path", "data", "match"),
    [
        ("a.nrrd", b"", "needed a NRRD file"),
        ("a.nrrd", b"NRRD0004\nno colon\n\n", "needed a line like 'type: short'"),
        ("a.mha", b"NDims = 3\n", "needed a header that ends"),
        ("a.mha", b"\x89PNG\r\n\x1a\n" * 9, "needed a"),
        ("a.gipl", b"x" * 99, "cannot be read by SimpleITK"),
        ("a.hdr", b"x" * 400, "needed its voxels in a.img, found no such file"),
        ("a.vtk", b"# vtk DataFile Version 3.0\nx\nASCII\nDATASET POLYDATA\n", "STRUCTURED_POINTS"),
        ("a.mrc", b"x" * 99, "cannot be read by SimpleITK|needed"),
    ],
)
def test_what_is_no_volume_is_refused_by_name(path, data, match):
    Path(path).write_bytes(data)
    refused(match, path)


def test_numbers_as_text_are_counted():
    head = "# vtk DataFile Version 3.0\nx\nASCII\nDATASET STRUCTURED_POINTS\nDIMENSIONS 2 2 2\n"
    head += "SPACING 1 1 1\nORIGIN 0 0 0\nPOINT_DATA 8\nSCALARS s short 1\nLOOKUP_TABLE default\n"
    Path("a.vtk").write_text(head + "1 2 3 4\n5 6 7 8\n")
    found = ItkVolumes("a.vtk", as_="volumes").read(0)[0]
    np.testing.assert_array_equal(found.ravel(), range(1, 9))
    Path("a.vtk").write_text(head + "1 2 3 4\n5 6 7\n")
    refused(r"a\.vtk: needed 8 numbers, found 7|ends early", "a.vtk")


def test_other_formats_have_their_own():
    write("i/a.nii.gz", numbers(*SHAPE))
    with pytest.raises(SourceError, match=r"found no file in i; looked for .*\.nrrd"):
        ItkVolumes("i")
    with pytest.raises(SourceError, match="--format nifti"):
        ItkVolumes("i/a.nii.gz")


def test_reading_leaves_the_locale_of_the_process() -> None:
    write("i/a.vtk", numbers(*SHAPE))
    locale.setlocale(locale.LC_CTYPE, "C.UTF-8")
    source = ItkVolumes("i")
    source.probe(0)
    source.read(0)
    assert locale.setlocale(locale.LC_CTYPE) == "C.UTF-8"
