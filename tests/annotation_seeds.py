"""Small datasets of the formats of annotation tools, of instances and of streets."""

from __future__ import annotations

import base64
import json
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from annotated import CVAT_MASK, cvat, cvat_image, cvat_polygon, labelme, labelme_shape
from seed_files import MASKS, PIXELS, encoded, put, put_folders, with_palette

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def datasets() -> Iterator[tuple[str, dict[str, Any], Callable[[Path], None]]]:
    """Yield formats with their arguments, and what writes their datasets."""
    folders = {"images": "i", "masks": "m"}
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


def _coco(at: Path) -> None:
    for number in range(2):
        put(at / f"i/{number}.png", encoded(PIXELS[number]))
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
    put(at / "a.json", json.dumps(said).encode())


def _panoptic(at: Path) -> None:
    for number in range(2):
        put(at / f"i/{number}.png", encoded(PIXELS[number]))
        colors = np.stack([MASKS[number] * 9, MASKS[number], MASKS[number]], axis=2)
        put(at / f"a/{number}.png", encoded(colors))
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
    put(at / "a.json", json.dumps(said).encode())


def _kitti(at: Path) -> None:
    put_folders(at / "training", "image_2", "semantic")


def _mapillary(at: Path) -> None:
    for number in range(2):
        put(at / f"training/images/{number}.png", encoded(PIXELS[number]))
        put(at / f"training/v2.0/labels/{number}.png", with_palette(MASKS[number]))
    colors = [[0, 0, 0], [128, 0, 0], [0, 128, 0]]
    names = ["construction--wall", "object--car", "void--unlabeled"]
    labels = [{"name": n, "color": c} for n, c in zip(names, colors, strict=True)]
    put(at / "config_v2.0.json", json.dumps({"labels": labels}).encode())


def _yolo(at: Path) -> None:
    for number, text in enumerate(("1 0.1 0.1 0.9 0.1 0.9 0.6 0.2 0.6\n0 0 0 1 0 0 1\n", "")):
        put(at / f"images/train/{number}.png", encoded(PIXELS[number]))
        put(at / f"labels/train/{number}.txt", text.encode())
    said = "path: ../datasets/set\ntrain: images/train\nnames:\n  0: cell\n  1: dirt\n"
    put(at / "data.yaml", said.encode())


def _labelme(at: Path) -> None:
    shapes = [
        labelme_shape("cell", [[1, 1], [8.5, 1], [8, 9]]),
        labelme_shape("dirt", [[2, 2], [5, 7]], "rectangle", group=1),
        labelme_shape("dirt", [[6, 6], [9, 6]], "circle"),
    ]
    for number in range(2):
        put(at / f"{number}.png", encoded(PIXELS[number]))
        said = labelme(f"{number}.png", *shapes[: 3 - 2 * number], size=(16, 12))
        put(at / f"{number}.json", json.dumps(said).encode())
    put(at / "labels.txt", b"__ignore__\n_background_\ncell\ndirt\n")


def _labelme_xml(at: Path) -> None:
    for number in range(2):
        put(at / f"{number}.png", encoded(PIXELS[number]))
        said = (
            f"<annotation><filename>{number}.png</filename><folder></folder><imagesize><nrows>16"
            "</nrows><ncols>12</ncols></imagesize><object><name>cell</name><deleted>0</deleted>"
            "<occluded>no</occluded><id>0</id><parts><hasparts/><ispartof/></parts><attributes/>"
            "<polygon><pt><x>1</x><y>1</y></pt><pt><x>8.50</x><y>1</y></pt><pt><x>8</x><y>9</y>"
            "</pt><username/></polygon></object></annotation>"
        )
        put(at / f"{number}.xml", said.encode())


def _cvat(at: Path) -> None:
    shapes = [cvat_polygon("car", "1,1;8.5,1;8,9", z_order=1), CVAT_MASK]
    frames = []
    for number in range(2):
        put(at / f"images/{number}.png", encoded(PIXELS[number]))
        frame = cvat_image(number, f"{number}.png", *shapes[: 2 - number])
        frames.append(frame.replace('height="10"', 'height="16"'))
    put(at / "annotations.xml", cvat(*frames).encode())


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
        put(at / f"i/{number}.png", encoded(PIXELS[number]))
        tasks.append({"id": number, "data": {"image": f"/data/upload/1/1a2b3c4d-{number}.png"},
                      "annotations": [{"id": 1, "result": regions[: 2 - number]}]})  # fmt: skip
    put(at / "a.json", json.dumps(tasks).encode())


def _supervisely(at: Path) -> None:
    bitmap = base64.b64encode(zlib.compress(with_palette(MASKS[0, :4, :3]))).decode()
    objects = [
        {"classTitle": "cell", "geometryType": "polygon", "points": {
            "exterior": [[1, 1], [9, 1], [8, 9]], "interior": [[[4, 3], [6, 3], [6, 5]]]}},
        {"classTitle": "dirt", "geometryType": "bitmap",
         "bitmap": {"data": bitmap, "origin": [5, 8]}},
    ]  # fmt: skip
    for number in range(2):
        put(at / f"set/img/{number}.png", encoded(PIXELS[number]))
        said = {"size": {"height": 16, "width": 12}, "objects": objects[: 2 - number], "tags": []}
        put(at / f"set/ann/{number}.png.json", json.dumps(said).encode())
    classes = [{"title": name, "shape": "any", "color": "#FF0000"} for name in ("cell", "dirt")]
    put(at / "meta.json", json.dumps({"classes": classes, "tags": []}).encode())


def _ade20k(at: Path) -> None:
    for number in range(2):
        mask = MASKS[number]
        colors = np.stack([mask * 21, mask, mask * 100], axis=2)
        put(at / f"training/street/{number}.jpg", encoded(PIXELS[number], "JPEG"))
        put(at / f"training/street/{number}_seg.png", encoded(colors))
        listed = [{"id": n, "name": name, "name_ndx": (n * 21 // 10 << 8) + n}
                  for n, name in enumerate(("wall", "sky"), 1)]  # fmt: skip
        said = {"annotation": {"filename": f"{number}.jpg", "object": listed}}
        put(at / f"training/street/{number}.json", json.dumps(said).encode())


def _datumaro(at: Path) -> None:
    for number in range(2):
        put(at / f"images/train/{number}.png", encoded(PIXELS[number]))
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
    put(at / "annotations/train.json", json.dumps(said).encode())


def _rle_csv(at: Path) -> None:
    for number in range(2):
        put(at / f"i/{number}.png", encoded(PIXELS[number]))
    runs = "0.png,2,1 4 20 7\n0.png,1,40 100\n1.png,,\n"
    put(at / "a.csv", f"ImageId,ClassId,EncodedPixels\n{runs}".encode())


def _mask_folders(at: Path) -> None:
    for number in range(2):
        put(at / f"c{number}/images/c{number}.png", encoded(PIXELS[number]))
        for label in (1, 2):
            inside = np.uint8(255) * (MASKS[number] == label)
            put(at / f"c{number}/masks/{label}.png", encoded(inside))


def _class_masks(at: Path) -> None:
    for number in range(2):
        put(at / f"i/{number}.png", encoded(PIXELS[number]))
        for label in (1, 2):
            inside = np.uint8(255) * (MASKS[number] == label)
            put(at / f"m/{number}_class{label}.png", encoded(inside))
