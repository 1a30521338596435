"""Small datasets of all formats, in every way of storing them that the fuzzer mutates."""

from __future__ import annotations

import io
import json
import tarfile
import warnings
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import google_crc32c
import h5py
import nibabel as nib
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tifffile
import zarr

import annotation_seeds
from dicom_writing import labels, values, write_enhanced, write_nifti, write_series
from seed_files import MASKS, PIXELS, encoded, put, put_folders, with_palette
from zarrfeed_convert.sources.records.features import _EXAMPLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FURTHER = {"depth": "target:depth", "ids": "mask:ids"}


@dataclass(frozen=True)
class Seed:
    """A dataset.

    Attributes
    ----------
    kind
        Of `FORMATS`.
    arguments
        Of its class; paths count from the dataset's folder, which is the current one.
    files
        Path → bytes.
    """

    kind: str
    arguments: dict[str, Any]
    files: dict[str, bytes]


def seeds(folder: Path) -> list[Seed]:
    """Write all datasets below a folder, and read them back."""
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number, (kind, arguments, write) in enumerate(_datasets()):
            place = folder / str(number)
            place.mkdir(parents=True)
            write(place)
            files = {
                path.relative_to(place).as_posix(): path.read_bytes()
                for path in sorted(place.rglob("*"))
                if path.is_file()
            }
            found.append(Seed(kind, arguments, files))
    return found


def _datasets() -> Iterator[tuple[str, dict[str, Any], Callable[[Path], None]]]:
    folders = {"images": "i", "masks": "m"}
    for form, more in _IMAGES:
        yield "paired", folders, lambda at, form=form, more=more: _paired(at, form, **more)
    for form in _TIFFS:
        yield "paired", folders, lambda at, form=form: _paired_tiff(at, **form)
    yield "paired", folders, _paired_npy
    further = {"depth": "target:depth", "ids": "mask:ids", "after": "image:after"}
    yield "paired", {"images": "i", "fields": further}, _paired_fields
    for name, text in _CLASSES.items():
        yield "paired", folders, lambda at, n=name, t=text: _paired(at, "PNG", **{n: t})
    yield "camvid", {"images": "."}, lambda at: put_folders(at, "train", "trainannot")
    city = {"images": ".", "subset": "train"}
    yield "cityscapes", city, _cityscapes
    yield "voc", {"images": ".", "subset": "train"}, _voc
    yield from annotation_seeds.datasets()
    yield "geotiff", folders, _geotiff
    yield "geotiff", {"images": "i"}, lambda at: _geotiff(at, compress="jpeg", photometric="ycbcr")
    for write in (_plain_stack, _imagej, _ome_tiff):
        yield "tiff", {"images": "i.tif", "masks": "m.tif"}, write
    yield "tiff", {"images": "i.tif"}, _imagej
    for end in ("nii", "nii.gz"):
        yield "nifti", folders, lambda at, end=end: _nifti(at, end)
    yield "nifti", {"images": "i"}, lambda at: _nifti(at, "nii.gz")
    for end, packed in _ITK:
        yield "itk", folders, partial(_itk, end=end, packed=packed)
    for write in (_dicom, _dicom_enhanced, _dicom_rle, _dicom_jpeg):
        yield "dicom", folders, write
    yield "dicom", {"images": "i"}, _dicom
    for more in ({}, {"chunks": True, "compression": "gzip", "shuffle": True},
                 {"chunks": True, "compression": "lzf", "fletcher32": True}):  # fmt: skip
        arguments = {"images": "a.h5:x", "masks": "a.h5:y"}
        yield "hdf5", arguments, lambda at, more=more: _hdf5(at, **more)
    yield "hdf5", arguments, _hdf5_volume
    yield "hdf5", {"images": "a.h5:v", "masks": "a.h5:y"}, _hdf5_virtual
    for save in (np.savez, np.savez_compressed):
        arguments = {"images": "a.npz:x", "masks": "a.npz:y"}
        yield "npz", arguments, lambda at, save=save: save(at / "a.npz", x=PIXELS, y=MASKS)
    yield "npz", {"images": "x.npy", "masks": "y.npy"}, _npy
    yield "tfrecord", {"images": "a.tfrecord"}, _tfrecord
    yield "tfrecord", {"images": "a.tfrecord", "shape": "16x12", "dtype": "uint8",
                       "mask_dtype": "uint8"}, _tfrecord_bare  # fmt: skip
    yield "tfrecord", {"images": "a.tfrecord", "fields": FURTHER}, _tfrecord_fields
    for more in ({}, {"compression": "zstd"}, {"compression": "gzip", "data_page_version": "2.0"}):
        yield "parquet", {"images": "a.parquet"}, lambda at, more=more: _parquet(at, **more)
    yield "parquet", {"images": "a.parquet"}, _parquet_lists
    yield "parquet", {"images": "a.parquet", "masks": "none", "fields": FURTHER}, _parquet_fields
    yield "webdataset", {"images": "a.tar"}, _webdataset
    for more in ({"zarr_format": 2}, {"zarr_format": 3}, {"zarr_format": 3, "shards": (3, 16, 12)},
                 {"zarr_format": 3, "compressors": zarr.codecs.GzipCodec()},
                 {"zarr_format": 3, "compressors": zarr.codecs.BloscCodec()}):  # fmt: skip
        arguments = {"images": "a.zarr/x", "masks": "a.zarr/y"}
        yield "zarr", arguments, lambda at, more=more: _zarr(at, **more)
    for version in (2, 3):
        yield "ome-zarr", {"images": "a.zarr"}, lambda at, v=version: _ome_zarr(at, v)
        whole = {"images": "a.zarr", "as_": "volumes"}
        yield "ome-zarr", whole, lambda at, v=version: _ome_zarr(at, v)
    yield "paired", {**folders, "axes": "DHWC"}, _npy_volumes
    yield "hdf5", {"images": "a.h5:x", "masks": "a.h5:y", "axes": "DHWC"}, _hdf5_large
    volumes = {"as_": "volumes"}
    anyhow = volumes | {"geometry": "warn"}
    for write in (_plain_stack, _imagej, _ome_tiff):
        yield "tiff", {"images": "i.tif", "masks": "m.tif"} | anyhow, write
    for write in (_dicom, _dicom_enhanced, _dicom_rle):
        yield "dicom", folders | anyhow, write
    yield "dicom", {"images": "i"} | volumes, _dicom
    for end in ("nii", "nii.gz"):
        yield "nifti", folders | volumes, lambda at, end=end: _nifti(at, end)
    for end, packed in _ITK[:4]:
        yield "itk", folders | volumes, partial(_itk, end=end, packed=packed)
    for end in (".nii.gz", ".tif", ".png", ".npy"):
        arguments = {"images": "."}
        yield "nnunet", arguments, lambda at, end=end: _nnunet(at, end)
    for more in ({}, {"as_": "slices"}):
        yield "msd", arguments | more, _decathlon


_IMAGES: list[tuple[str, dict[str, Any]]] = [
    ("PNG", {}), ("JPEG", {}), ("JPEG", {"progressive": True}), ("BMP", {}),
    ("WEBP", {"lossless": True}), ("WEBP", {}), ("GIF", {}), ("PPM", {}),
]  # fmt: skip
_TIFFS: list[dict[str, Any]] = [
    {}, {"compression": "zlib", "rowsperstrip": 4}, {"compression": "lzw", "tile": (16, 16)},
    {"compression": "jpeg"}, {"bigtiff": True, "compression": "packbits"},
    {"planarconfig": "separate", "predictor": True, "compression": "zstd"},
]  # fmt: skip
_CLASSES = {
    "labelmap.txt": "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncell:128,0,0::\n",
    "class_dict.csv": "name,r,g,b\nbackground,0,0,0\ncell,128,0,0\n",
    "label_colors.txt": "0 0 0\tbackground\n128 0 0\tcell\n",
    "_classes.csv": "Pixel Value, Class\n0, background\n1, cell\n2, dirt\n",
}
_ENDS = {"JPEG": "jpg", "TIFF": "tif", "PPM": "png", "GIF": "png"}


def _saved(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _paired(at: Path, form: str, **more: Any) -> None:
    for name in more.keys() & _CLASSES.keys():
        put(at / "m" / name, more.pop(name).encode())
    for number in range(2):
        put(
            at / f"i/{number}.{_ENDS.get(form, form.lower())}",
            encoded(PIXELS[number], form, **more),
        )
        mask = MASKS[number]
        put(at / f"m/{number}.png", with_palette(mask) if number else encoded(mask))


def _paired_tiff(at: Path, **more: Any) -> None:
    (at / "i").mkdir()
    values = PIXELS[0]
    if more.get("planarconfig"):
        values = np.moveaxis(values, 2, 0)
    tifffile.imwrite(at / "i/a.tif", values, photometric="rgb", metadata=None, **more)
    put(at / "m/a.png", encoded(MASKS[0]))


def _cityscapes(at: Path) -> None:
    for number in range(2):
        name = f"train/bonn/bonn_{number:06}_000019"
        put(at / f"leftImg8bit/{name}_leftImg8bit.png", encoded(PIXELS[number]))
        put(at / f"gtFine/{name}_gtFine_labelIds.png", encoded(MASKS[number]))


def _voc(at: Path) -> None:
    for number in range(2):
        put(at / f"JPEGImages/{number}.jpg", encoded(PIXELS[number], "JPEG"))
        put(at / f"SegmentationClass/{number}.png", with_palette(MASKS[number]))
    put(at / "ImageSets/Segmentation/train.txt", b"0\n1\n")


def _geotiff(at: Path, **more: Any) -> None:
    from rasterio.transform import Affine

    place = {"crs": "EPSG:32633", "transform": Affine(10, 0, 500_000, 0, -10, 4_000_000)}
    place |= _TILES
    for number in range(2):
        for name, bands, nodata in (("i", np.moveaxis(PIXELS[number], 2, 0), 0),
                                    ("m", MASKS[number][np.newaxis], 2)):  # fmt: skip
            if name == "i" or not more:
                (at / name).mkdir(exist_ok=True)
                write_raster(at / name / f"{number}.tif", bands, nodata=nodata, **place, **more)


_TILES = {"tiled": True, "blockxsize": 16, "blockysize": 16}


def write_raster(path: Path, bands: Any, **more: Any) -> None:
    """Write a GeoTIFF of bands (C, H, W) with rasterio."""
    import rasterio

    count, height, width = bands.shape
    with rasterio.open(path, "w", driver="GTiff", dtype=bands.dtype, count=count, height=height,
                       width=width, **more) as file:  # fmt: skip
        file.write(bands)


def _plain_stack(at: Path) -> None:
    for name, stack in (("i", PIXELS[..., 0]), ("m", MASKS)):
        tifffile.imwrite(at / f"{name}.tif", stack, photometric="minisblack", metadata=None,
                         compression="zlib" if name == "i" else None)  # fmt: skip


def _imagej(at: Path) -> None:
    for name, stack in (("i", PIXELS[..., 0]), ("m", MASKS)):
        tifffile.imwrite(at / f"{name}.tif", stack, imagej=True, metadata={"axes": "ZYX"})


def _ome_tiff(at: Path) -> None:
    for name, stack in (("i", PIXELS[..., 0]), ("m", MASKS)):
        tifffile.imwrite(at / f"{name}.tif", stack, ome=True, metadata={"axes": "ZYX"})


def _nifti(at: Path, end: str) -> None:
    for name, volume in (("i", PIXELS[..., 0].astype(np.int16)), ("m", MASKS)):
        (at / name).mkdir()
        nib.save(nib.Nifti1Image(volume, np.eye(4)), at / name / f"a.{end}")
    said = {"labels": {"background": 0, "liver": 1, "tumour": 2}}
    put(at / "dataset.json", json.dumps(said).encode())


_ITK = [("nrrd", False), ("nhdr", True), ("mha", True), ("mhd", False), ("gipl.gz", True),
        ("hdr", False), ("vtk", False), ("mrc", False)]  # fmt: skip


def _itk(at: Path, end: str, *, packed: bool) -> None:
    import SimpleITK

    for name, volume in (("i", PIXELS[..., 0].astype(np.int16)), ("m", MASKS)):
        (at / name).mkdir()
        image = SimpleITK.GetImageFromArray(volume)
        image.SetSpacing((0.5, 0.75, 2))
        SimpleITK.WriteImage(image, str(at / name / f"a.{end}"), useCompression=packed)


def _nnunet(at: Path, end: str) -> None:
    for folder, name, volume in (
        ("imagesTr", "a_0000", PIXELS[..., 0]), ("imagesTr", "a_0001", PIXELS[..., 1]),
        ("labelsTr", "a", MASKS),
    ):  # fmt: skip
        (at / folder).mkdir(exist_ok=True)
        path = at / folder / f"{name}{end}"
        if end == ".nii.gz":
            nib.save(nib.Nifti1Image(volume.astype(np.int16), np.eye(4)), path)
        elif end == ".tif":
            tifffile.imwrite(path, volume, compression="zlib", photometric="minisblack")
            put(path.with_name("a.json"), b'{"spacing": [2.5, 1, 1]}')
        elif end == ".npy":
            np.save(path, volume)
        else:
            put(path, encoded(volume[0]))
    said = {
        "channel_names": {"0": "CT", "1": "PET"},
        "labels": {"background": 0, "liver": 1, "tumour": 2, "ignore": 3},
        "numTraining": 1,
        "file_ending": end,
    }
    put(at / "dataset.json", json.dumps(said).encode())


def _decathlon(at: Path) -> None:
    for name, volume in (("imagesTr", PIXELS.astype(np.int16)), ("labelsTr", MASKS)):
        (at / name).mkdir()
        nib.save(nib.Nifti1Image(volume, np.eye(4)), at / name / "a.nii.gz")
    said = {
        "modality": {"0": "T1", "1": "T2", "2": "FLAIR"},
        "labels": {"0": "background", "1": "edema", "2": "tumour"},
        "numTraining": 1,
        "training": [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}],
    }
    put(at / "dataset.json", json.dumps(said).encode())


def _dicom(at: Path) -> None:
    write_series(at / "i", values(3), slope=2, intercept=-5)
    write_nifti(at / "m/a.nii", labels(3))


def _dicom_enhanced(at: Path) -> None:
    write_enhanced(at / "i/a.dcm", values(3))
    write_nifti(at / "m/a.nii", labels(3))


def _dicom_rle(at: Path) -> None:
    from pydicom import dcmread
    from pydicom.uid import RLELossless

    for path in write_series(at / "i", values(3)):
        data = dcmread(path)
        data.compress(RLELossless)
        data.save_as(path)
    write_nifti(at / "m/a.nii", labels(3))


def _dicom_jpeg(at: Path) -> None:
    import imagecodecs
    from pydicom import dcmread
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, JPEGLosslessSV1

    stack = values(3, "uint8")
    ways = (
        (JPEGBaseline8Bit, lambda one: encoded(one, "JPEG")),
        (JPEGLosslessSV1, lambda one: imagecodecs.ljpeg_encode(one)),
        (JPEG2000Lossless, lambda one: encoded(one, "JPEG2000", no_jp2=True)),
    )
    for path, pixels, (syntax, encode) in zip(
        write_series(at / "i", stack), stack, ways, strict=True
    ):
        data = dcmread(path)
        data.PixelData = encapsulate([encode(pixels)])
        data["PixelData"].is_undefined_length = True
        data.file_meta.TransferSyntaxUID = syntax
        data.save_as(path)
    write_nifti(at / "m/a.nii", labels(3))


def _hdf5(at: Path, **more: Any) -> None:
    with h5py.File(at / "a.h5", "w") as file:
        file.create_dataset("x", data=PIXELS, **more)
        file.create_dataset("y", data=MASKS, **more)


def _hdf5_volume(at: Path) -> None:
    with h5py.File(at / "a.h5", "w") as file:
        file.create_dataset("x", data=PIXELS[np.newaxis], chunks=(1, 2, 8, 12, 3), compression=4)
        file.create_dataset("y", data=MASKS[np.newaxis])


def _hdf5_large(at: Path) -> None:
    with h5py.File(at / "a.h5", "w") as file:
        file.create_dataset("x", data=PIXELS, chunks=(2, 5, 7, 3), compression=4)
        file.create_dataset("y", data=MASKS)


def _hdf5_virtual(at: Path) -> None:
    _hdf5(at)
    with h5py.File(at / "a.h5", "a") as file:
        layout = h5py.VirtualLayout(PIXELS.shape, "u1")
        layout[:] = h5py.VirtualSource(file["x"])
        file.create_virtual_dataset("v", layout)


def _paired_npy(at: Path) -> None:
    for folder, several in (("i", PIXELS.astype(">u2")), ("m", map(np.asfortranarray, MASKS))):
        (at / folder).mkdir()
        for number, array in enumerate(several):
            np.save(at / folder / f"{number}.npy", array)


def _npy_volumes(at: Path) -> None:
    for folder, volume in (("i", PIXELS.astype(">u2")), ("m", np.asfortranarray(MASKS))):
        (at / folder).mkdir()
        np.save(at / folder / "a.npy", volume)


def _paired_fields(at: Path) -> None:
    (at / "depth").mkdir()
    for number in range(2):
        put(at / f"i/{number}.png", encoded(PIXELS[number]))
        put(at / f"after/{number}.jpg", encoded(PIXELS[number], "JPEG"))
        put(at / f"ids/{number}.png", with_palette(MASKS[number]))
        tifffile.imwrite(at / f"depth/{number}.tif", MASKS[number] / np.float32(3))


def _npy(at: Path) -> None:
    np.save(at / "x.npy", PIXELS)
    np.save(at / "y.npy", np.asfortranarray(MASKS))


def framed(payload: bytes) -> bytes:
    """Frame a record as TFRecord has it, with right checksums."""

    def masked(data: bytes) -> bytes:
        crc = google_crc32c.value(data)
        return (((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF).to_bytes(4, "little")

    length = len(payload).to_bytes(8, "little")
    return length + masked(length) + payload + masked(payload)


def _tfrecord(at: Path) -> None:
    _records(at, lambda n: {"image": encoded(PIXELS[n]), "mask": encoded(MASKS[n])})


def _tfrecord_bare(at: Path) -> None:
    _records(at, lambda n: {"image": PIXELS[n].tobytes(), "mask": MASKS[n].tobytes()})


def _tfrecord_fields(at: Path) -> None:
    _records(at, lambda n: {"image": encoded(PIXELS[n]), "mask": encoded(MASKS[n]),
                            "depth": _saved(PIXELS[n] / 9), "ids": encoded(MASKS[n])})  # fmt: skip


def _records(at: Path, of: Callable[[int], dict[str, bytes]]) -> None:
    records = []
    for number in range(3):
        example = _EXAMPLE()
        for name, value in of(number).items():
            entry = example.features.feature.add(key=name)
            entry.value.bytes_list.value.append(value)
        records.append(framed(example.SerializeToString()))
    put(at / "a.tfrecord", b"".join(records))


def _parquet(at: Path, **more: Any) -> None:
    image = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    rows = {
        name: pa.array([{"bytes": encoded(one), "path": "a.png"} for one in stack], image)
        for name, stack in (("image", PIXELS), ("annotation", MASKS))
    }
    pq.write_table(pa.table(rows), at / "a.parquet", **more)


def _parquet_lists(at: Path) -> None:
    rows = {"image": PIXELS.tolist(), "annotation": MASKS.tolist()}
    kinds = {"image": pa.list_(pa.list_(pa.list_(pa.uint8()))),
             "annotation": pa.list_(pa.list_(pa.uint8()))}  # fmt: skip
    columns = {name: pa.array(rows[name], kind) for name, kind in kinds.items()}
    pq.write_table(pa.table(columns), at / "a.parquet", row_group_size=2)


def _parquet_fields(at: Path) -> None:
    rows = {"image": map(encoded, PIXELS), "ids": map(encoded, MASKS),
            "depth": [_saved(one / 9) for one in PIXELS]}  # fmt: skip
    table = {name: pa.array(values, pa.binary()) for name, values in rows.items()}
    pq.write_table(pa.table(table), at / "a.parquet", row_group_size=2)


def _webdataset(at: Path) -> None:
    with tarfile.open(at / "a.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        for number in range(2):
            for name, data in ((f"{number}.jpg", encoded(PIXELS[number], "JPEG")),
                               (f"{number}.{'é' * 40 * number}seg.png", encoded(MASKS[number])),
                               (f"{number}.mask.npy", _saved(MASKS[number]))):  # fmt: skip
                about = tarfile.TarInfo(name)
                about.size = len(data)
                tar.addfile(about, io.BytesIO(data))


def _zarr(at: Path, **more: Any) -> None:
    group = zarr.open_group(at / "a.zarr", mode="w", zarr_format=more.pop("zarr_format"))
    shards = more.pop("shards", None)
    for name, stack in (("x", PIXELS), ("y", MASKS)):
        chunks = (2, 8, *stack.shape[2:]) if not shards else (1, *stack.shape[1:])
        whole = {"shards": stack.shape} if shards else {}
        group.create_array(name, data=stack, chunks=chunks, **whole, **more)


def _ome_zarr(at: Path, version: int) -> None:
    group = zarr.open_group(at / "a.zarr", mode="w", zarr_format=version)
    for place, stack, more in (
        (group, PIXELS[..., 0], {}),
        (group.create_group("labels/l"), MASKS,
         {"image-label": {"properties": [{"label-value": 1, "class": "cell"},
                                         {"label-value": 2, "class": "dirt"}]}}),
    ):  # fmt: skip
        place.create_array("0", data=stack, chunks=(1, 16, 12))
        scales = [{"axes": [{"name": axis, "type": "space"} for axis in "zyx"],
                   "datasets": [{"path": "0", "coordinateTransformations": [
                       {"type": "scale", "scale": [1.0, 0.5, 0.5]}]}]}]  # fmt: skip
        said = {"multiscales": scales, **more}
        place.attrs.update(said if version == 2 else {"ome": {"version": "0.5", **said}})
    listed = {"labels": ["l"]}
    group["labels"].attrs.update(listed if version == 2 else {"ome": listed})
