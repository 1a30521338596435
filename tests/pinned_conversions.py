"""Small conversions, every byte of whose input is fixed: what they write must not change.

Pixels come from SHAKE-128, of which no version of NumPy has another opinion, and are stored without
loss; JPEGs are here as they are. What the formats' datasets hold is :mod:`source_seeds`'.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np

from former_tiles import pack_former_tiles
from source_seeds import seeds
from zarrfeed_convert import PairedFolders, convert, open_source, repack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from source_seeds import Seed

# 16x12, 4:4:4: an encoder of another version would write others. What is pinned of them is what
# imagecodecs decodes.
JPEGS = [
    base64.b64decode(text)
    for text in (
        (
            "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAoHBwgHBgoICAgLCgoLDhgQDg0NDh0VFhEYIx8lJCIfIiEmKzcvJik0KS"
            "EiMEExNDk7Pj4+JS5ESUM8SDc9Pjv/2wBDAQoLCw4NDhwQEBw7KCIoOzs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7"
            "Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozv/wAARCAAMABADAREAAhEBAxEB/8QAFQABAQAAAAAAAAAAAAAAAAAABQb/xA"
            "AcEAACAgIDAAAAAAAAAAAAAAAABAMiBTERITL/xAAXAQEAAwAAAAAAAAAAAAAAAAAGBAUH/8QAHREAAgEFAQEAAAAA"
            "AAAAAAAAAAQDAgUxUWERIf/aAAwDAQACEQMRAD8AnE8DqgwcunSIi1gdUwOqBJy6dGqLWCiTTh6qVbjEmzKkZKvg4o"
            "nDx5CTbEmxolJV4f/Z"
        ),
        (
            "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAoHBwgHBgoICAgLCgoLDhgQDg0NDh0VFhEYIx8lJCIfIiEmKzcvJik0KS"
            "EiMEExNDk7Pj4+JS5ESUM8SDc9Pjv/2wBDAQoLCw4NDhwQEBw7KCIoOzs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7"
            "Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozv/wAARCAAMABADAREAAhEBAxEB/8QAFgABAQEAAAAAAAAAAAAAAAAABQME/8"
            "QAIRAAAgIBAwUBAAAAAAAAAAAAAQIDBAAREkEFEyEiMXH/xAAXAQADAQAAAAAAAAAAAAAAAAAEBQYC/8QAHxEAAQQC"
            "AwEBAAAAAAAAAAAAAQACAwQRQRIhMXHB/9oADAMBAAIRAxEAPwAWt0pYU7kgIUHycT17BcQAlUZbE3m84AV1oNZkUb"
            "RtQ+pHIynqShgQ0lh1l4GgeviZsxKLCoNQpXUrwfuQ1Fx45QN+RwmDAesea2tsMEa1nIUAhNQR+ZSVnkuC0DiBxHuP"
            "xf/Z"
        ),
    )
]

# Two samples a chunk and four a shard, of 12x10 RGB: with seven, both are ragged.
LAYOUT = {"workers": 1, "chunk_samples": 2, "shard_size": 4 * 12 * 10 * 3}

# The first of these kinds in `source_seeds`; others have JPEGs, whose pixels are their encoder's.
FORMATS = (
    "camvid", "cityscapes", "class-masks", "coco", "coco-panoptic", "cvat", "datumaro", "dicom",
    "geotiff", "hdf5", "itk", "kitti", "label-studio", "labelme", "mapillary", "mask-folders",
    "msd", "nifti", "nnunet", "npz", "ome-zarr", "parquet", "supervisely", "tfrecord", "tiff",
    "rle-csv", "yolo", "zarr",
)  # fmt: skip


def numbers(name: str, shape: Sequence[int], dtype: str = "uint8", *, below: int = 0) -> Any:
    """Give numbers that a name decides, and nothing else."""
    count = int(np.prod(shape))
    drawn = np.frombuffer(hashlib.shake_128(name.encode()).digest(2 * count), "<u2")
    return (drawn % below if below else drawn).astype(dtype).reshape(shape)


def mask(
    name: str, shape: Sequence[int], ids: Sequence[int] = (0, 1, 2), dtype: str = "uint8"
) -> Any:
    """Give a mask that has every id."""
    drawn = np.array(ids, dtype)[numbers(f"{name}, mask", shape, below=len(ids))]
    drawn.flat[: len(ids)] = ids
    return drawn


def write_pngs(
    count: int = 7,
    *,
    shapes: Iterable[tuple[int, int]] = ((12, 10),),
    channels: int = 3,
    dtype: str = "uint8",
    ids: Sequence[int] = (0, 1, 2),
    mask_dtype: str = "uint8",
) -> PairedFolders:
    """Write pairs of PNGs below the current folder, of shapes that follow each other."""
    for folder in ("images", "masks"):
        Path(folder).mkdir()
    shapes = list(shapes)
    for sample in range(count):
        shape, name = shapes[sample % len(shapes)], f"s{sample}"
        image = numbers(name, (*shape, channels), dtype)
        Path("images", f"{name}.png").write_bytes(imagecodecs.png_encode(image))
        write_mask(name, shape, ids, mask_dtype)
    return PairedFolders("images", "masks")


def write_mask(name: str, shape: Sequence[int], *options: Any) -> None:
    data = imagecodecs.png_encode(mask(name, shape, *options))
    Path("masks", f"{name}.png").write_bytes(data)


def pack(source: Any, split: str = "train", out: Path | str = "o.zarr", **options: Any) -> None:
    convert(source, out, split=split, **{"codec": "raw", **LAYOUT, **options})


# -- What is packed --------------------------------------------------------------------------------


def png_8_bit() -> None:
    pack(write_pngs(ids=(0, 1, 2, 255)), ignore=255)


def png_16_bit() -> None:
    pack(write_pngs(dtype="uint16"), order="source")


def png_with_alpha() -> None:
    pack(write_pngs(channels=4), classes="sky,road,tree", seed=3)


def grey_png_with_binary_masks() -> None:
    pack(write_pngs(channels=1, ids=(0, 255)))


def masks_of_16_bit() -> None:
    source = write_pngs(ids=(0, 1, 299, 400), mask_dtype="uint16")
    pack(source, classes=300, ignore=400)


def mapped_masks() -> None:
    write_pngs(ids=(0, 50, 200, 255))
    pack(PairedFolders("images", "masks", mask_map="50=1,128..255=2,*=0"))


def jpeg() -> None:
    for folder in ("images", "masks"):
        Path(folder).mkdir()
    for sample, data in enumerate(JPEGS):
        Path("images", f"s{sample}.jpg").write_bytes(data)
        write_mask(f"s{sample}", (12, 16))
    pack(PairedFolders("images", "masks"), chunk_samples=1)


SHAPES = ((12, 10), (9, 15), (20, 7))


def cases() -> None:
    pack(write_pngs(shapes=SHAPES), tile=(6, 5), chunk_samples=1)


def resized() -> None:
    # Even images: Pillow rounds the pixels of others differently on different machines, by ±1.
    source = write_pngs(shapes=SHAPES)
    for path in sorted(Path("images").iterdir()):
        image = imagecodecs.png_decode(path.read_bytes())
        image[:] = image[0, 0]
        path.write_bytes(imagecodecs.png_encode(image))
    pack(source, size=(8, 9), fit="resize")


def cropped() -> None:
    pack(write_pngs(shapes=SHAPES), size=(7, 6), fit="crop")


def padded() -> None:
    pack(write_pngs(shapes=SHAPES), size=(20, 16), fit="pad", ignore=255)


def skipped() -> None:
    source = write_pngs()
    write_mask("s4", (12, 11))  # of another size than its image
    pack(source, on_error="skip")


def lz4() -> None:
    pack(write_pngs(), codec="lz4")


def zstd() -> None:
    pack(write_pngs(dtype="uint16"), codec="zstd")


def codec_auto() -> None:
    pack(write_pngs(), codec="auto", chunk_samples=None, shard_size=None)


def float32_arrays() -> None:
    # Eighths: their sums and squares are exact, in whatever order they are added up.
    images = numbers("floats", (7, 12, 10, 2), "int16", below=4096).astype(np.float32) / 8
    np.savez("a.npz", x=images, y=mask("floats", (7, 12, 10)))
    pack(open_source("npz", {"images": "a.npz:x", "masks": "a.npz:y"}))


def iterable_of_named_samples() -> None:
    pack(
        {"key": f"c{n}", "image": numbers(f"c{n}", (12, 10, 3)), "mask": mask(f"c{n}", (12, 10))}
        for n in range(7)
    )


def repacked_part() -> None:
    png_8_bit()
    layout = {"workers": 1, "chunk_samples": 3, "shard_size": 3 * 12 * 10 * 3}
    repack("o.zarr/train", "new.zarr", split="part", codec="lz4", subset=slice(1, 6), **layout)


def repacked_former_tiles() -> None:
    """Repack overlapping tiles, which only earlier versions packed."""
    tiles = {"size": (6, 5), "overlap": 2, "codec": "raw", "classes": None}
    pack_former_tiles(write_pngs(shapes=SHAPES), "o.zarr", split="train", **tiles, **LAYOUT)
    repack("o.zarr", "new.zarr", split="train", codec="raw", order="shuffled", seed=2, workers=1)


def repacked_of_two() -> None:
    source = write_pngs()
    pack(source, "train")
    pack(source, "val", seed=5, codec="lz4")
    repack(["o.zarr/train", "o.zarr/val"], "new.zarr", split="all", codec="raw", prefix_keys=True,
           workers=1)  # fmt: skip


CONVERSIONS: dict[str, Callable[[], None]] = {
    conversion.__name__: conversion
    for conversion in (
        png_8_bit, png_16_bit, png_with_alpha, grey_png_with_binary_masks, masks_of_16_bit,
        mapped_masks, jpeg, cases, resized, cropped, padded, skipped, lz4, zstd, codec_auto,
        float32_arrays, iterable_of_named_samples, repacked_part, repacked_former_tiles,
        repacked_of_two,
    )
}  # fmt: skip


def datasets_of_formats(folder: Path) -> dict[str, Seed]:
    """Write a dataset of each of `FORMATS`."""
    found: dict[str, Seed] = {}
    for seed in seeds(folder):
        found.setdefault(seed.kind, seed)
    return {kind: found[kind] for kind in FORMATS}


def pack_format(seed: Seed) -> None:
    """Pack a dataset of a format in the current folder."""
    for path, data in seed.files.items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(data)
    pack(open_source(seed.kind, seed.arguments), shard_size=2 * 16 * 12 * 3, chunk_samples=1)
