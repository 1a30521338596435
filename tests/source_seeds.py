"""Small datasets of all formats, in every way of storing them that the fuzzer mutates."""

from __future__ import annotations

import base64
import io
import json
import tarfile
import warnings
import zlib
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
from PIL import Image

from annotated import CVAT_MASK, cvat, cvat_image, cvat_polygon, labelme, labelme_shape
from dicom_writing import labels, values, write_enhanced, write_nifti, write_series
from zarrfeed_convert.sources.records.features import _EXAMPLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

RNG = np.random.default_rng(5)
PIXELS = RNG.integers(0, 255, (3, 16, 12, 3), np.uint8)
MASKS = RNG.integers(0, 3, (3, 16, 12), np.uint8)
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
    yield "camvid", {"images": "."}, lambda at: _folders(at, "train", "trainannot")
    city = {"images": ".", "subset": "train"}
    yield "cityscapes", city, _cityscapes
    yield "voc", {"images": ".", "subset": "train"}, _voc
    yield "coco", {"images": "i", "masks": "a.json"}, _coco
    yield "coco", {"images": "i", "masks": "a.json", "instances": "boundary"}, _coco
    yield "coco-panoptic", {"images": "i", "masks": "a.json"}, _panoptic
    yield "kitti", {"images": "."}, _kitti
    yield "mapillary", {"images": "."}, _mapillary
    yield "yolo", {"images": "."}, _yolo
    yield "labelme", {"images": "."}, _labelme
    yield "labelme", {"images": "."}, _labelme_xml
    yield "cvat", {"images": "."}, _cvat
    yield "label-studio", {"images": "i", "masks": "a.json"}, _label_studio
    yield "supervisely", {"images": "."}, _supervisely
    yield "ade20k", {"images": "."}, _ade20k
    yield "datumaro", {"images": "."}, _datumaro
    yield "rle-csv", {"images": "i", "masks": "a.csv"}, _rle_csv
    yield "rle-csv", {"images": "i", "masks": "a.csv", "instances": "keep"}, _rle_csv
    yield "mask-folders", {"images": "."}, _mask_folders
    yield "class-masks", folders, _class_masks
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


def _encoded(pixels: Any, form: str = "PNG", **more: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **more)
    return file.getvalue()


def _saved(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _palette(mask: Any) -> bytes:
    image = Image.fromarray(mask)
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _paired(at: Path, form: str, **more: Any) -> None:
    for name in more.keys() & _CLASSES.keys():
        _put(at / "m" / name, more.pop(name).encode())
    for number in range(2):
        _put(
            at / f"i/{number}.{_ENDS.get(form, form.lower())}",
            _encoded(PIXELS[number], form, **more),
        )
        mask = MASKS[number]
        _put(at / f"m/{number}.png", _palette(mask) if number else _encoded(mask))


def _paired_tiff(at: Path, **more: Any) -> None:
    (at / "i").mkdir()
    values = PIXELS[0]
    if more.get("planarconfig"):
        values = np.moveaxis(values, 2, 0)
    tifffile.imwrite(at / "i/a.tif", values, photometric="rgb", metadata=None, **more)
    _put(at / "m/a.png", _encoded(MASKS[0]))


def _folders(at: Path, images: str, masks: str) -> None:
    for number in range(2):
        _put(at / images / f"{number}.png", _encoded(PIXELS[number]))
        _put(at / masks / f"{number}.png", _encoded(MASKS[number]))


def _cityscapes(at: Path) -> None:
    for number in range(2):
        name = f"train/bonn/bonn_{number:06}_000019"
        _put(at / f"leftImg8bit/{name}_leftImg8bit.png", _encoded(PIXELS[number]))
        _put(at / f"gtFine/{name}_gtFine_labelIds.png", _encoded(MASKS[number]))


def _voc(at: Path) -> None:
    for number in range(2):
        _put(at / f"JPEGImages/{number}.jpg", _encoded(PIXELS[number], "JPEG"))
        _put(at / f"SegmentationClass/{number}.png", _palette(MASKS[number]))
    _put(at / "ImageSets/Segmentation/train.txt", b"0\n1\n")


def _coco(at: Path) -> None:
    for number in range(2):
        _put(at / f"i/{number}.png", _encoded(PIXELS[number]))
    shapes = [
        {"segmentation": [[1, 1, 8, 1, 8, 9, 1.5, 9]], "iscrowd": 0},
        {"segmentation": {"size": [16, 12], "counts": [20, 30, 142]}, "iscrowd": 1},
        {"segmentation": {"size": [16, 12], "counts": "d0n0n3"}, "iscrowd": 1},
    ]
    said = {
        "info": {"year": 2024},
        "images": [{"id": n, "file_name": f"{n}.png", "height": 16, "width": 12} for n in range(2)],
        "categories": [{"id": 3, "name": "cell"}, {"id": 7, "name": "dirt"}],
        "annotations": [
            {"id": n, "image_id": n % 2, "category_id": 3 + 4 * (n % 2), "area": 30,
             "bbox": [1, 1, 7, 8], **shape}
            for n, shape in enumerate(shapes[:2])
        ],
    }  # fmt: skip
    _put(at / "a.json", json.dumps(said).encode())


def _panoptic(at: Path) -> None:
    for number in range(2):
        _put(at / f"i/{number}.png", _encoded(PIXELS[number]))
        colors = np.stack([MASKS[number] * 9, MASKS[number], MASKS[number]], axis=2)
        _put(at / f"a/{number}.png", _encoded(colors))
    segments = [
        {"id": index * (9 + 256 + 65536), "category_id": 2 * index, "iscrowd": index - 1,
         "bbox": [0, 0, 12, 16], "area": 60} for index in (1, 2)
    ]  # fmt: skip
    said = {
        "images": [{"id": n, "file_name": f"{n}.png", "height": 16, "width": 12} for n in range(2)],
        "annotations": [
            {"image_id": n, "file_name": f"{n}.png", "segments_info": segments} for n in range(2)
        ],
        "categories": [{"id": 2, "name": "sky"}, {"id": 4, "name": "car"}],
    }
    _put(at / "a.json", json.dumps(said).encode())


def _kitti(at: Path) -> None:
    _folders(at / "training", "image_2", "semantic")


def _mapillary(at: Path) -> None:
    for number in range(2):
        _put(at / f"training/images/{number}.png", _encoded(PIXELS[number]))
        _put(at / f"training/v2.0/labels/{number}.png", _palette(MASKS[number]))
    colors = [[0, 0, 0], [128, 0, 0], [0, 128, 0]]
    names = ["construction--wall", "object--car", "void--unlabeled"]
    labels = [{"name": n, "color": c} for n, c in zip(names, colors, strict=True)]
    _put(at / "config_v2.0.json", json.dumps({"labels": labels}).encode())


def _yolo(at: Path) -> None:
    for number, text in enumerate(("1 0.1 0.1 0.9 0.1 0.9 0.6 0.2 0.6\n0 0 0 1 0 0 1\n", "")):
        _put(at / f"images/train/{number}.png", _encoded(PIXELS[number]))
        _put(at / f"labels/train/{number}.txt", text.encode())
    said = "path: ../datasets/set\ntrain: images/train\nnames:\n  0: cell\n  1: dirt\n"
    _put(at / "data.yaml", said.encode())


def _labelme(at: Path) -> None:
    shapes = [
        labelme_shape("cell", [[1, 1], [8.5, 1], [8, 9]]),
        labelme_shape("dirt", [[2, 2], [5, 7]], "rectangle", group=1),
        labelme_shape("dirt", [[6, 6], [9, 6]], "circle"),
    ]
    for number in range(2):
        _put(at / f"{number}.png", _encoded(PIXELS[number]))
        said = labelme(f"{number}.png", *shapes[: 3 - 2 * number], size=(16, 12))
        _put(at / f"{number}.json", json.dumps(said).encode())
    _put(at / "labels.txt", b"__ignore__\n_background_\ncell\ndirt\n")


def _labelme_xml(at: Path) -> None:
    for number in range(2):
        _put(at / f"{number}.png", _encoded(PIXELS[number]))
        said = (
            f"<annotation><filename>{number}.png</filename><folder></folder><imagesize><nrows>16"
            "</nrows><ncols>12</ncols></imagesize><object><name>cell</name><deleted>0</deleted>"
            "<occluded>no</occluded><id>0</id><parts><hasparts/><ispartof/></parts><attributes/>"
            "<polygon><pt><x>1</x><y>1</y></pt><pt><x>8.50</x><y>1</y></pt><pt><x>8</x><y>9</y>"
            "</pt><username/></polygon></object></annotation>"
        )
        _put(at / f"{number}.xml", said.encode())


def _cvat(at: Path) -> None:
    shapes = [cvat_polygon("car", "1,1;8.5,1;8,9", z_order=1), CVAT_MASK]
    frames = []
    for number in range(2):
        _put(at / f"images/{number}.png", _encoded(PIXELS[number]))
        frame = cvat_image(number, f"{number}.png", *shapes[: 2 - number])
        frames.append(frame.replace('height="10"', 'height="16"'))
    _put(at / "annotations.xml", cvat(*frames).encode())


def _label_studio(at: Path) -> None:
    polygon = {"points": [[8, 6], [75, 6], [66, 56]], "closed": True, "polygonlabels": ["cell"]}
    # 768 values RGBA: 400 zeros, 200 of 255, 168 zeros.
    bits = f"{768:032b}{7:05b}{2:04b}{3:04b}{7:04b}{15:04b}"
    bits += "".join(f"111{n - 1:016b}{v:08b}" for n, v in ((400, 0), (200, 255), (168, 0)))
    bits += "0" * (-len(bits) % 8)
    code = [int(bits[n : n + 8], 2) for n in range(0, len(bits), 8)]
    brush = {"format": "rle", "rle": code, "brushlabels": ["dirt"]}
    regions = [
        {"type": kind, "original_width": 12, "original_height": 16, "image_rotation": 0,
         "value": value} for kind, value in (("polygonlabels", polygon), ("brushlabels", brush))
    ]  # fmt: skip
    tasks = []
    for number in range(2):
        _put(at / f"i/{number}.png", _encoded(PIXELS[number]))
        tasks.append({"id": number, "data": {"image": f"/data/upload/1/1a2b3c4d-{number}.png"},
                      "annotations": [{"id": 1, "result": regions[: 2 - number]}]})  # fmt: skip
    _put(at / "a.json", json.dumps(tasks).encode())


def _supervisely(at: Path) -> None:
    bitmap = base64.b64encode(zlib.compress(_palette(MASKS[0, :4, :3]))).decode()
    objects = [
        {"classTitle": "cell", "geometryType": "polygon", "points": {
            "exterior": [[1, 1], [9, 1], [8, 9]], "interior": [[[4, 3], [6, 3], [6, 5]]]}},
        {"classTitle": "dirt", "geometryType": "bitmap",
         "bitmap": {"data": bitmap, "origin": [5, 8]}},
    ]  # fmt: skip
    for number in range(2):
        _put(at / f"set/img/{number}.png", _encoded(PIXELS[number]))
        said = {"size": {"height": 16, "width": 12}, "objects": objects[: 2 - number], "tags": []}
        _put(at / f"set/ann/{number}.png.json", json.dumps(said).encode())
    classes = [{"title": name, "shape": "any", "color": "#FF0000"} for name in ("cell", "dirt")]
    _put(at / "meta.json", json.dumps({"classes": classes, "tags": []}).encode())


def _ade20k(at: Path) -> None:
    for number in range(2):
        mask = MASKS[number]
        colors = np.stack([mask * 21, mask, mask * 100], axis=2)
        _put(at / f"training/street/{number}.jpg", _encoded(PIXELS[number], "JPEG"))
        _put(at / f"training/street/{number}_seg.png", _encoded(colors))
        listed = [{"id": n, "name": name, "name_ndx": (n * 21 // 10 << 8) + n}
                  for n, name in enumerate(("wall", "sky"), 1)]  # fmt: skip
        said = {"annotation": {"filename": f"{number}.jpg", "object": listed}}
        _put(at / f"training/street/{number}.json", json.dumps(said).encode())


def _datumaro(at: Path) -> None:
    for number in range(2):
        _put(at / f"images/train/{number}.png", _encoded(PIXELS[number]))
    shapes = [
        {
            "id": 1,
            "type": "polygon",
            "attributes": {},
            "group": 0,
            "label_id": 0,
            "points": [1, 1, 8.5, 1, 8, 9],
            "z_order": 0,
        },
        {
            "id": 2,
            "type": "mask",
            "attributes": {"is_crowd": True},
            "group": 0,
            "label_id": 1,
            "rle": {"counts": "d0n0^4", "size": [16, 12]},
            "z_order": 0,
        },
    ]
    said = {
        "dm_format_version": "1.0", "media_type": 2, "infos": {},
        "categories": {"label": {"labels": [{"name": name, "parent": "", "attributes": []}
                                            for name in ("cell", "dirt")], "attributes": []}},
        "items": [{"id": str(number), "annotations": shapes[: 2 - number], "attr": {"frame": 0},
                   "image": {"path": f"{number}.png", "size": [16, 12]}} for number in range(2)],
    }  # fmt: skip
    _put(at / "annotations/train.json", json.dumps(said).encode())


def _rle_csv(at: Path) -> None:
    for number in range(2):
        _put(at / f"i/{number}.png", _encoded(PIXELS[number]))
    runs = "0.png,2,1 4 20 7\n0.png,1,40 100\n1.png,,\n"
    _put(at / "a.csv", f"ImageId,ClassId,EncodedPixels\n{runs}".encode())


def _mask_folders(at: Path) -> None:
    for number in range(2):
        _put(at / f"c{number}/images/c{number}.png", _encoded(PIXELS[number]))
        for label in (1, 2):
            inside = np.uint8(255) * (MASKS[number] == label)
            _put(at / f"c{number}/masks/{label}.png", _encoded(inside))


def _class_masks(at: Path) -> None:
    for number in range(2):
        _put(at / f"i/{number}.png", _encoded(PIXELS[number]))
        for label in (1, 2):
            inside = np.uint8(255) * (MASKS[number] == label)
            _put(at / f"m/{number}_class{label}.png", _encoded(inside))


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
    _put(at / "dataset.json", json.dumps(said).encode())


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
            _put(path.with_name("a.json"), b'{"spacing": [2.5, 1, 1]}')
        elif end == ".npy":
            np.save(path, volume)
        else:
            _put(path, _encoded(volume[0]))
    said = {
        "channel_names": {"0": "CT", "1": "PET"},
        "labels": {"background": 0, "liver": 1, "tumour": 2, "ignore": 3},
        "numTraining": 1,
        "file_ending": end,
    }
    _put(at / "dataset.json", json.dumps(said).encode())


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
    _put(at / "dataset.json", json.dumps(said).encode())


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
        (JPEGBaseline8Bit, lambda one: _encoded(one, "JPEG")),
        (JPEGLosslessSV1, lambda one: imagecodecs.ljpeg_encode(one)),
        (JPEG2000Lossless, lambda one: _encoded(one, "JPEG2000", no_jp2=True)),
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
        _put(at / f"i/{number}.png", _encoded(PIXELS[number]))
        _put(at / f"after/{number}.jpg", _encoded(PIXELS[number], "JPEG"))
        _put(at / f"ids/{number}.png", _palette(MASKS[number]))
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
    _records(at, lambda n: {"image": _encoded(PIXELS[n]), "mask": _encoded(MASKS[n])})


def _tfrecord_bare(at: Path) -> None:
    _records(at, lambda n: {"image": PIXELS[n].tobytes(), "mask": MASKS[n].tobytes()})


def _tfrecord_fields(at: Path) -> None:
    _records(at, lambda n: {"image": _encoded(PIXELS[n]), "mask": _encoded(MASKS[n]),
                            "depth": _saved(PIXELS[n] / 9), "ids": _encoded(MASKS[n])})  # fmt: skip


def _records(at: Path, of: Callable[[int], dict[str, bytes]]) -> None:
    records = []
    for number in range(3):
        example = _EXAMPLE()
        for name, value in of(number).items():
            entry = example.features.feature.add(key=name)
            entry.value.bytes_list.value.append(value)
        records.append(framed(example.SerializeToString()))
    _put(at / "a.tfrecord", b"".join(records))


def _parquet(at: Path, **more: Any) -> None:
    image = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    rows = {
        name: pa.array([{"bytes": _encoded(one), "path": "a.png"} for one in stack], image)
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
    rows = {"image": map(_encoded, PIXELS), "ids": map(_encoded, MASKS),
            "depth": [_saved(one / 9) for one in PIXELS]}  # fmt: skip
    table = {name: pa.array(values, pa.binary()) for name, values in rows.items()}
    pq.write_table(pa.table(table), at / "a.parquet", row_group_size=2)


def _webdataset(at: Path) -> None:
    with tarfile.open(at / "a.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        for number in range(2):
            for name, data in ((f"{number}.jpg", _encoded(PIXELS[number], "JPEG")),
                               (f"{number}.{'é' * 40 * number}seg.png", _encoded(MASKS[number])),
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
