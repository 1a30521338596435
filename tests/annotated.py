"""Small datasets as annotation tools write them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

HEIGHT, WIDTH = 10, 12


def write_image(path: Path, seed: int = 0, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Any:
    """Write an image of noise, and return its pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def put(path: Path, content: Any) -> Path:
    """Write text, or anything else as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


def drawn(*rows: str) -> Any:
    """Return a mask from digits."""
    return np.array([[int(digit) for digit in row] for row in rows], np.uint8)


def cvat(*frames: str, labels: tuple[str, ...] = ("road", "car"), kind: str = "task") -> str:
    """Return the XML of CVAT for some frames."""
    listed = "".join(
        f"<label><name>{label}</name><color>#ff0000</color><type>any</type>"
        "<attributes></attributes></label>"
        for label in labels
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n'
        f"<meta><{kind}><id>1</id><name>streets</name><labels>{listed}</labels>"
        "<original_size><width>12</width><height>10</height></original_size>"
        f"</{kind}><dumped>2024-05-01 10:00:00.0+00:00</dumped></meta>\n"
        + "\n".join(frames)
        + "\n</annotations>\n"
    )


def cvat_image(number: int, name: str, *shapes: str, more: str = "") -> str:
    """Return the XML of an image in CVAT's file."""
    return (
        f'<image id="{number}" name="{name}" {more} width="{WIDTH}" height="{HEIGHT}">'
        + "".join(shapes)
        + "</image>"
    )


def cvat_polygon(label: str, points: str, z_order: int = 0) -> str:
    """Return the XML of a polygon in CVAT's file."""
    return (
        f'<polygon label="{label}" source="manual" occluded="0" points="{points}" '
        f'z_order="{z_order}"></polygon>'
    )


CVAT_MASK = (
    '<mask label="car" source="manual" occluded="0" rle="1, 2, 1, 1, 1" left="8" top="6" '
    'width="3" height="2" z_order="0"></mask>'
)


def labelme(image: str, *shapes: Any, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Any:
    """Return the JSON of labelme for an image."""
    return {
        "version": "5.4.1", "flags": {}, "shapes": list(shapes), "imagePath": image,
        "imageData": None, "imageHeight": size[0], "imageWidth": size[1],
    }  # fmt: skip


def labelme_shape(label: str, points: Any, kind: str = "polygon", group: Any = None) -> Any:
    """Return a shape of labelme."""
    return {
        "label": label, "points": points, "group_id": group, "description": "",
        "shape_type": kind, "flags": {}, "mask": None,
    }  # fmt: skip
