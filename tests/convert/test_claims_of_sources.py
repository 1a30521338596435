"""What a dataset claims is checked before it is believed, and it cannot lead out of itself."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import struct
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import h5py
import nibabel as nib
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from dicom_writing import labels, values, write_enhanced, write_nifti, write_series
from zarrfeed.errors import SourceError
from zarrfeed_convert import Limits, open_source, parameters_of
from zarrfeed_convert.decoding.limits import read_text
from zarrfeed_tools.source_arguments import limits_of

PIXELS = np.arange(2 * 8 * 6, dtype=np.uint8).reshape(2, 8, 6)
MASKS = PIXELS % 3
SMALL = Limits(sample_nbytes=1 << 20)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")


def refused(kind, arguments, match, limits=SMALL):
    with pytest.raises(SourceError, match=match):
        open_source(kind, arguments, limits=limits)


# -- claims ----------------------------------------------------------------------------------------

HDF5 = {"images": "a.h5:x", "masks": "a.h5:y"}


@pytest.mark.parametrize("shape", [(10**9, 8, 6), (2, 60000, 60000)])
def test_arrays_that_claim_too_much_are_refused_with_the_claim(shape):
    said = f"claim of {1000000000 if shape[0] > 2 else 75000000}"
    with h5py.File("a.h5", "w") as file:
        for name in ("x", "y"):
            file.create_dataset(name, shape, "u1", chunks=(1, 8, 6), fillvalue=1)
    refused("hdf5", HDF5, rf"a\.h5.*{said}.*--max-sample-size")
    group = zarr.open_group("a.zarr", mode="w")
    for name in ("x", "y"):
        group.create_array(name, shape=shape, dtype="u1", chunks=(1, 8, 6))
    refused("zarr", {"images": "a.zarr/x", "masks": "a.zarr/y"}, f"a.zarr.*{said}")


def npy(shape, data=b""):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )
    return file.getvalue() + data


@pytest.mark.parametrize("how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("shape", [(10**9, 8, 6), (2, 60000, 60000)])
def test_members_of_npz_that_claim_more_than_there_is_are_refused(how, shape):
    with zipfile.ZipFile("a.npz", "w", how) as archive:
        for name in ("x.npy", "y.npy"):
            archive.writestr(name, npy(shape, bytes(96)))
    arguments = {"images": "a.npz:x", "masks": "a.npz:y"}
    refused("npz", arguments, r"a\.npz:x: needed", Limits())
    refused("npz", arguments, r"a\.npz:x: needed")


def test_a_compressed_array_is_held_to_the_limit():
    np.savez_compressed("a.npz", x=np.zeros((2, 2000, 600), np.uint8))
    refused("npz", {"images": "a.npz:x", "masks": "a.npz:x"}, "a compressed array of at most 1 MiB")


def test_a_header_of_gigabytes_is_not_read():
    header = b"\x93NUMPY\x02\x00" + struct.pack("<I", 1 << 31) + bytes(50 << 20)
    with zipfile.ZipFile("a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", header)
    refused("npz", {"images": "a.npz:x", "masks": "a.npz:x"}, "NPY header of at most 65536 bytes")


def test_frames_of_dicom_are_counted_before_they_are_listed():
    _, data = write_enhanced("i/a.dcm", values(3))
    write_nifti("m/a.nii", labels(3))
    data.NumberOfFrames = 2_000_000_000
    data.save_as("i/a.dcm", enforce_file_format=True)
    refused("dicom", {"images": "i", "masks": "m"}, r"a\.dcm.*a claim of 2000000000", Limits())
    data.NumberOfFrames, data.Rows, data.Columns = 3, 60000, 60000
    data.save_as("i/a.dcm", enforce_file_format=True)
    refused("dicom", {"images": "i", "masks": "m"}, r"a\.dcm.*60000×60000", Limits())


@pytest.mark.parametrize("cut", [False, True])
def test_a_jpeg_in_dicom_that_is_cut_and_closed_again_is_truncated(cut):
    from pydicom import dcmread
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEGBaseline8Bit

    [path] = write_series("i", values(1, "uint8", rows=64, columns=48))
    write_nifti("m/a.nii", labels(1, rows=64, columns=48))
    data = dcmread(path)
    file = io.BytesIO()
    Image.fromarray(data.pixel_array).save(file, "JPEG")
    jpeg = file.getvalue()
    if cut:
        jpeg = jpeg[: len(jpeg) * 2 // 3].rstrip(b"\xff") + b"\xff\xd9"
    data.PixelData = encapsulate([jpeg])
    data["PixelData"].is_undefined_length = True
    data.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    data.save_as(path)
    source = open_source("dicom", {"images": "i", "masks": "m"})
    if not cut:
        assert source.read(0)[0].shape == (64, 48, 1)
        return
    with pytest.raises(SourceError, match=r"\.dcm: .*truncated"):
        source.read(0)


def test_deflated_dicom_is_held_to_the_limit():
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    write_series("i", values(1, rows=2000, columns=600) * 0, syntax=DeflatedExplicitVRLittleEndian)
    write_nifti("m/a.nii", labels(1, rows=2000, columns=600))
    refused("dicom", {"images": "i", "masks": "m"}, "deflated data of at most 1 MiB")


def write_volumes(end="nii"):
    for folder, volume in (("i", PIXELS), ("m", MASKS)):
        Path(folder).mkdir()
        nib.save(nib.Nifti1Image(volume, np.eye(4)), f"{folder}/a.{end}")


VOLUMES = {"images": "i", "masks": "m"}


def test_volumes_that_claim_large_slices_are_refused():
    for folder in ("i", "m"):
        Path(folder).mkdir()
        header = nib.Nifti2Header()
        header.set_data_dtype(np.uint8)
        header["dim"] = [3, 80000, 80000, 4, 1, 1, 1, 1]
        header["magic"], header["vox_offset"] = b"n+2", 544
        Path(f"{folder}/a.nii").write_bytes(header.binaryblock + bytes(4 + 100))
    refused("nifti", VOLUMES, r"a\.nii.*", Limits())


@pytest.mark.parametrize("end", ["nii", "nii.gz"])
def test_a_volume_of_less_than_it_claims_is_refused_early(end):
    write_volumes(end)
    read = gzip.open if end == "nii.gz" else open
    for folder in ("i", "m"):
        with read(f"{folder}/a.{end}", "rb") as file:
            data = bytearray(file.read())
        struct.pack_into("<3h", data, 42, 8, 6, 30000)
        with read(f"{folder}/a.{end}", "wb") as file:
            file.write(data)
    refused("nifti", VOLUMES, rf"a\.{end}: needed \d+ bytes of voxels", Limits())


def test_no_more_of_a_gzip_file_is_decompressed_than_its_header_declares(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    write_volumes("nii.gz")
    for folder in ("i", "m"):
        plain = gzip.decompress(Path(f"{folder}/a.nii.gz").read_bytes())
        Path(f"{folder}/a.nii.gz").write_bytes(gzip.compress(plain + bytes(64 << 20)))
    source = open_source("nifti", VOLUMES)
    np.testing.assert_array_equal(source.read(0)[0][..., 0], PIXELS[:, :, 0])
    copies = [path.stat().st_size for path in tmp_path.glob("zarrfeed-copies*/*.nii")]
    assert copies == [352 + PIXELS.size] * 2


def test_a_gzip_file_that_declares_more_than_the_disk_has_is_refused(monkeypatch):
    write_volumes("nii.gz")
    source = open_source("nifti", VOLUMES)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(SourceError, match=r"a\.nii\.gz.*needed .* bytes for its decompressed copy"):
        source.read(0)


# -- without end -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [-512, -1024, -1536, -(10**6), 10**18])
@pytest.mark.parametrize("name", ["1.png", "README"])
def test_a_tar_whose_members_do_not_follow_each_other_is_refused(size, name):
    with tarfile.open("a.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        for number, called in enumerate(("0.png", name, "2.png")):
            member = tarfile.TarInfo(called)
            member.size = 100
            if number == 1:
                member.pax_headers = {"size": str(size)}
            tar.addfile(member, io.BytesIO(bytes(100)))
    refused("webdataset", {"images": "a.tar"}, r"^a\.tar: (needed|cannot be read)")


def test_a_stack_whose_directories_form_a_loop_is_refused():
    for name in ("i.tif", "m.tif"):
        tifffile.imwrite(name, MASKS, photometric="minisblack", metadata=None)
    data = bytearray(Path("i.tif").read_bytes())
    (first,) = struct.unpack_from("<I", data, 4)
    (tags,) = struct.unpack_from("<H", data, first)
    struct.pack_into("<I", data, first + 2 + 12 * tags, first)
    Path("i.tif").write_bytes(data)
    refused("tiff", {"images": "i.tif", "masks": "m.tif"}, r"i\.tif: .*leads back")


@pytest.mark.parametrize(
    "text",
    [
        "ImageJ=1.53\nimages=1000000000\nslices=1000000000\n",
        '{"shape": [1000000000, 8, 6]}',
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="6" '
        'SizeY="8" SizeZ="1000000000" SizeC="1" SizeT="1"><TiffData PlaneCount="1000000000"/>'
        "</Pixels></Image></OME>",
    ],
)
def test_a_stack_whose_text_promises_a_billion_pages_is_refused(text):
    for name in ("i.tif", "m.tif"):
        tifffile.imwrite(name, MASKS, photometric="minisblack", metadata=None, description=text)
    stack = {"images": "i.tif", "masks": "m.tif"}
    refused("tiff", stack, r"i\.tif: needed at most 1048576 pages, found a claim of 1000000000")


@pytest.mark.parametrize(
    "text", ["[" * 300_000, '{"images": ' + "[" * 300_000, '{"info": ' + '{"a":' * 300_000]
)
def test_json_that_is_nested_without_end_is_refused(text):
    Path("i").mkdir()
    Image.new("L", (6, 8)).save("i/0.png")
    Path("a.json").write_text(text, "ascii")
    refused("coco", {"images": "i", "masks": "a.json"}, r"a\.json: needed a COCO file")


def test_what_a_coco_file_says_besides_is_passed_over():
    Path("i").mkdir()
    Image.new("L", (6, 8)).save("i/0.png")
    said = {
        "info": {"a": [1, 'x]}"\\', {"b": None}], "c": -1.5e3},
        "version": "1",
        "flag": True,
        "empty": {},
        "images": [{"id": 0, "file_name": "0.png"}],
        "categories": [{"id": 1, "name": "cell"}],
        "annotations": [],
        "last": [[], {}],
    }
    for indent in (None, 2):
        Path("a.json").write_text(json.dumps(said, indent=indent), "ascii")
        assert list(open_source("coco", {"images": "i", "masks": "a.json"}).keys) == ["0"]


@pytest.mark.parametrize(
    ("kind", "name", "member"),
    [("webdataset", "a.tar", ""), ("tfrecord", "a.tfrecord", ""), ("parquet", "a.parquet", ""),
     ("hdf5", "a.h5", ":x"), ("npz", "a.npz", ":x"), ("nifti", "a.nii", ""), ("tiff", "a.tif", ""),
     ("dicom", "a.dcm", "")],
)  # fmt: skip
def test_pipes_in_place_of_files_are_not_opened(kind, name, member):
    Path("d").mkdir()
    os.mkfifo(f"d/{name}")
    masks = {} if kind in ("webdataset", "tfrecord", "parquet") else {"masks": f"d{member}"}
    refused(kind, {"images": f"d{member}", **masks}, "needed a file, found a pipe")


def test_pipes_in_place_of_texts_are_not_opened():
    Path("i").mkdir()
    Image.new("L", (6, 8)).save("i/0.png")
    os.mkfifo("a.json")
    refused("coco", {"images": "i", "masks": "a.json"}, r"a\.json: needed a file, found a pipe")
    with pytest.raises(SourceError, match=r"a\.json: needed a file, found a pipe"):
        read_text(Path("a.json"))


@pytest.mark.parametrize("name", ["x/zarr.json", "x/.zattrs", "x/c/0/0/0"])
def test_pipes_in_place_of_files_of_zarr_are_not_opened(name):
    version = 2 if "/." in name else 3
    group = zarr.open_group("a.zarr", mode="w", zarr_format=version)
    group.create_array("x", data=PIXELS, chunks=(1, *PIXELS.shape[1:]))
    group["x"].attrs["a"] = 1
    group.create_array("y", data=MASKS)
    Path("a.zarr", name).unlink()
    os.mkfifo(f"a.zarr/{name}")
    with pytest.raises(SourceError, match="needed a file, found a pipe"):
        open_source("zarr", {"images": "a.zarr/x", "masks": "a.zarr/y"}).read(0)


# -- out of the dataset ----------------------------------------------------------------------------


def write_hdf5(path, **more):
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=PIXELS, **more)
        file.create_dataset("y", data=MASKS, **more)


def follows(arguments, kind="hdf5"):
    """Read what is refused by default, once it is allowed."""
    source = open_source(kind, arguments, limits=Limits(external=True))
    np.testing.assert_array_equal(source.read(1)[0][..., 0], PIXELS[1])


@pytest.mark.parametrize("target", ["../b.h5", "absolute", "b.h5"])
def test_links_of_hdf5_to_other_files_are_not_followed(target):
    place = Path("b.h5" if target == "b.h5" else "../b.h5")
    write_hdf5(place)
    with h5py.File("a.h5", "w") as file:
        file["e"] = h5py.ExternalLink(str(place.resolve()) if target == "absolute" else target, "/")
        file["x"] = h5py.SoftLink("/e/x")
        file["g/h"] = h5py.SoftLink("/e")
        file["y"] = MASKS
    for array in ("/e/x", "x", "g/h/x", "/x"):
        arguments = {"images": f"a.h5:{array}", "masks": "a.h5:y"}
        refused("hdf5", arguments, r"a\.h5:.*another file.*--allow-external")
        follows(arguments)


def test_links_of_hdf5_to_each_other_end():
    with h5py.File("a.h5", "w") as file:
        file["y"] = MASKS
        file["x"] = h5py.SoftLink("/z")
        file["z"] = h5py.SoftLink("/x")
    refused("hdf5", HDF5, r"a\.h5:x: needed an array, found links to each other")


def test_raw_storage_of_hdf5_is_not_read():
    Path("raw").write_bytes(PIXELS.tobytes())
    with h5py.File("a.h5", "w") as file:
        file.create_dataset(
            "x", PIXELS.shape, "u1", external=[(os.path.abspath("raw"), 0, PIXELS.size)]
        )
        file["y"] = MASKS
    refused("hdf5", HDF5, r"a\.h5:/x: .*raw storage in .*raw; .*--allow-external")
    follows(HDF5)


@pytest.mark.parametrize("nested", [False, True])
def test_virtual_arrays_stay_in_their_folder(nested):
    write_hdf5("../b.h5")
    write_hdf5("c.h5")

    def put(path, source):
        with h5py.File(path, "w") as file:
            layout = h5py.VirtualLayout(PIXELS.shape, "u1")
            layout[:] = h5py.VirtualSource(source, "x", PIXELS.shape)
            file.create_virtual_dataset("x", layout)
            file["y"] = MASKS

    put("a.h5", "c.h5")
    np.testing.assert_array_equal(open_source("hdf5", HDF5).read(1)[0][..., 0], PIXELS[1])
    put("a.h5", "d.h5" if nested else "../b.h5")
    put("d.h5", str(Path("../b.h5").resolve()))
    refused("hdf5", HDF5, r"h5:/x: .*b\.h5, outside .*--allow-external")
    follows(HDF5)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("what", ["level", "label"])
@pytest.mark.parametrize("path", ["../b.zarr/0", "/b.zarr/0", "0::file:///b.zarr/0"])
def test_paths_in_ome_zarr_stay_in_the_image(version, what, path):
    def put(where, level="0", names=("l",)):
        group = zarr.open_group(where, mode="w", zarr_format=version)
        for place, stack in ((group, PIXELS), (group.create_group("labels/l"), MASKS)):
            place.create_array("0", data=stack, chunks=(1, 8, 6))
            scales = [{"axes": [{"name": axis} for axis in "zyx"], "datasets": [{"path": level}]}]
            said = {"multiscales": scales}
            place.attrs.update(said if version == 2 else {"ome": said})
        said = {"labels": list(names)}
        group["labels"].attrs.update(said if version == 2 else {"ome": said})

    put("../b.zarr")
    put("b.zarr")
    put("a.zarr", **({"level": path} if what == "level" else {"names": [path]}))
    refused("ome-zarr", {"images": "a.zarr"}, r"a\.zarr: .*outside a\.zarr.*--allow-external")


@pytest.mark.parametrize("path", ["../b.png", "absolute", "sub/../../b.png"])
def test_paths_in_tables_stay_in_the_tables_folder(path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    Image.fromarray(PIXELS[1]).save("../b.png")
    Path("sub").mkdir()
    where = os.path.abspath("../b.png") if path == "absolute" else path
    for kind in (pa.string(), pa.struct({"bytes": pa.binary(), "path": pa.string()})):
        rows = [where if pa.types.is_string(kind) else {"bytes": None, "path": where}] * 2
        pq.write_table(
            pa.table({name: pa.array(rows, kind) for name in ("image", "annotation")}), "a.parquet"
        )
        source = open_source("parquet", {"images": "a.parquet"})
        for read in (source.probe, source.read, source.read_mask):
            with pytest.raises(SourceError, match=r"^a\.parquet\[row=0, .*--allow-external"):
                read(0)
        follows({"images": "a.parquet"}, "parquet")


def test_an_ome_tiff_does_not_open_other_files():
    for name in ("i.tif", "m.tif"):
        tifffile.imwrite(name, MASKS, ome=True, metadata={"axes": "ZYX"})
    with tifffile.TiffFile("i.tif") as tiff:
        text = tiff.ome_metadata
    assert text is not None
    one = '<TiffData IFD="0"><UUID FileName="../other.tif">urn:uuid:1</UUID></TiffData>'
    said = text[: text.index("<TiffData")] + one + text[text.index("</Pixels>") :]
    tifffile.imwrite("i.tif", MASKS, photometric="minisblack", metadata=None, description=said)
    refused("tiff", {"images": "i.tif", "masks": "m.tif"}, r"i\.tif: .*continues in others")


@pytest.mark.parametrize("name", ["../b", "../../etc/passwd", "\0", "x" * 5000])
def test_lists_of_names_stay_in_their_folders(name):
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        Path(folder).mkdir(parents=True)
    Image.new("RGB", (6, 8)).save("../b.jpg")
    Image.new("L", (6, 8)).save("../b.png")
    Path("ImageSets/Segmentation/train.txt").write_text(f"{name}\n", "ascii")
    refused("voc", {"images": "."}, "needed")


def test_a_list_that_is_no_text_names_no_file():
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        Path(folder).mkdir(parents=True)
    Path("ImageSets/Segmentation/train.txt").write_bytes(b"a\n\xff\xfe\n")
    refused("voc", {"images": "."}, "needed the files that train.txt names")


# -- the way out -----------------------------------------------------------------------------------


def test_the_advice_of_a_refusal_is_an_option_that_helps():
    np.savez_compressed("a.npz", x=np.zeros((2, 2000, 600), np.uint8))
    arguments = {"images": "a.npz:x", "masks": "a.npz:x"}
    with pytest.raises(SourceError) as refusal:
        open_source("npz", arguments, limits=limits_of("1MiB", allow_external=False))
    [size] = re.findall(r"--max-sample-size (\S+) \(look up", str(refusal.value))
    assert (
        len(open_source("npz", arguments, limits=limits_of(size, allow_external=False)).keys) == 2
    )


def test_the_limits_are_no_options_of_a_format_and_not_recorded():
    np.savez("a.npz", x=PIXELS, y=MASKS)
    source = open_source("npz", {"images": "a.npz:x", "masks": "a.npz:y"}, limits=SMALL)
    assert "limits" not in {*source.describe(), *parameters_of("npz")}
    assert limits_of(None, allow_external=True) == Limits(external=True)
    assert limits_of("8GiB", allow_external=False) == Limits(8 << 30)
