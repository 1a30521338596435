"""Notebooks show splits, cases and sequences: safely, small, and without moving them."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest
import zarr
from PIL import Image

from case_stores import write_cases
from patch_stores import CLASSES, ct, write_classed_cases, write_classed_samples
from stores import traced_pixels, write_split
from zarrfeed import FrontEnd, GridPatches, RandomPatches, open_cases, open_split

if TYPE_CHECKING:
    from pathlib import Path

VOID = {"br", "img"}


class Page(HTMLParser):
    """Checks that every tag is closed, and collects texts and pictures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.pictures: list[Any] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(text)
        assert not self.open
        assert len(text) < 200_000
        # Nothing runs, loads or paints over a dark notebook.
        allowed = {"div", "table", "tbody", "tr", "th", "td", "span", "figure", "figcaption"}
        assert self.tags <= allowed | VOID
        assert self.attributes <= {"style", "src", "alt", "scope"}
        assert not re.search(r"(?<!-)color:|background:(?!rgb|transparent)", text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in VOID:
            self.open.append(tag)
        if tag == "img":
            source = dict(attrs)["src"]
            encoded = base64.b64decode(source.partition("base64,")[2])
            self.pictures.append(np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB")))

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return "|".join(self.texts)


def shown(thing: Any) -> Page:
    return Page(thing._repr_html_())


def noise(n: int = 6) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (n, 200, 300, 3), np.uint8)
    return {"image": image, "mask": rng.integers(0, 3, (n, 200, 300), np.uint8)}


def test_a_split_shows_a_table_and_four_samples(tmp_path: Path) -> None:
    page = shown(open_split(write_classed_samples(tmp_path / "o.zarr/train", noise())))
    for part in ("samples|6", "classes|3", "6 × 200 × 300 × 3", "uint8", *CLASSES):
        assert part in page.text
    assert len(page.pictures) == 4
    assert page.pictures[0].shape == (96, 2 * 144 + 2, 3)


def test_images_alone_and_other_stores_are_shown(tmp_path: Path) -> None:
    page = shown(open_split(write_split(tmp_path / "x", {"raw": traced_pixels(2)["image"]})))
    assert len(page.pictures) == 2
    assert "raw" in page.text
    page = shown(open_split(write_split(tmp_path / "y", {"number": np.arange(3.0)})))
    assert "can't be drawn" in page.text
    assert "number" in page.text


def test_volumes_and_large_images_are_shown_as_cases(tmp_path: Path) -> None:
    volumes = {f"p{n}": ct((10, 20 + n, 30), n, lesions=2) for n in range(5)}
    spacing = np.array([[3.0, 1.0, 1.0]] * 5)
    path = write_classed_cases(tmp_path / "ct.zarr/s", volumes, (8, 16, 16), spacing=spacing)
    cases = open_cases(path)
    page = shown(cases)
    assert "cases|5 of 10 × 20…24 × 30" in page.text
    assert "median spacing|3 × 1 × 1" in page.text
    assert [len(page.pictures), page.pictures[0].ndim] == [4, 3]
    large = np.broadcast_to(np.uint8(7), (9000, 9000, 1))
    path = write_cases(tmp_path / "l", {"large": {"image": large}}, (4500, 4500), shard=None)
    page = shown(open_split(path))
    assert "the middle 576 × 576" in page.text
    assert page.pictures[0].shape == (144, 144, 3)


def test_a_sequence_shows_its_first_batch_and_stays_where_it_is(tmp_path: Path) -> None:
    path = write_classed_samples(tmp_path / "o.zarr/train", noise())

    def darker(image: Any, mask: Any, rng: np.random.Generator) -> Any:
        return (image / 9).astype(np.float32), mask[..., None]

    plain = FrontEnd(path, 4, transform=darker, workers=2, use_multiprocessing=True, seed=5)
    other = FrontEnd(path, 4, transform=darker, workers=0, seed=5)
    children = psutil.Process().children()
    with plain, other:
        first = shown(other)
        assert psutil.Process().children() == children
        for part in (
            "FrontEnd", "samples|6", "batches|2 of 4 samples", "next|epoch 0, batch 0", "darker",
            "0, in the caller's thread", "mask|target|200 × 300 × 1|uint8", "yes, seed 5",
        ):  # fmt: skip
            assert part in first.text
        assert len(first.pictures) == 4
        keys = [key for key in first.texts if key.startswith("sample ")]
        assert keys[:4] == other.batch_keys(0)
        state = other.state_dict()
        ways = [iter(plain), iter(other)]
        for step in range(3):
            batches = [next(way) if step < 2 else None for way in ways]
            shown(other)
            if step < 2:
                for one, two in zip(*batches, strict=True):
                    np.testing.assert_array_equal(one, two)
        assert other.epoch == 1
        assert state["epoch"] == 0
        assert "next|epoch 1, batch 0" in shown(other).text


@pytest.mark.parametrize("patches", [GridPatches((16, 16)), RandomPatches((16, 16), turns=True)])
def test_a_sequence_of_patches_shows_where_they_lie(tmp_path: Path, patches: Any) -> None:
    path = write_classed_samples(tmp_path / "o.zarr/train", noise(1))
    sequence = FrontEnd(path, 3, patches=patches, fields=("image", "mask"))
    page = shown(sequence)
    assert "patches" in page.text
    assert type(patches).__name__ in page.text
    assert re.search(r"sample 0 at \d+,\d+", page.text)
    assert len(page.pictures) == 4  # the fourth is of the second batch


def test_overlapping_classes_are_shown(tmp_path: Path) -> None:
    pixels = noise(2)
    hot = np.stack([pixels["mask"] == 1, pixels["mask"] > 0, pixels["mask"] > 5], axis=-1)
    path = write_classed_samples(
        tmp_path / "o.zarr/s", {"image": pixels["image"], "mask": hot.astype(np.uint8)}
    )
    assert "which may overlap" in shown(open_split(path)).text
    assert len(shown(FrontEnd(path, 2)).pictures) == 2


def test_names_are_shown_literally_and_shortened(tmp_path: Path) -> None:
    evil = '<script>alert("x")</script>\x1b[31m\u202e\'"&'
    volumes = {evil + "k" * 5000: ct((10, 20, 30), 0, lesions=2)}
    path = write_classed_cases(tmp_path / "<b>o.zarr" / "s&t", volumes, (8, 16, 16))
    classes = [evil, "x" * 10_000, *(f"{evil} {number}" for number in range(400))]
    zarr.open_group(str(path.parent), mode="a").attrs["zarrfeed"] = {
        "format": 1, "classes": classes, "ignore": 255,
    }  # fmt: skip
    page = shown(open_split(path))
    assert "<script>" in page.text
    assert "\x1b" not in page.text
    assert "and 379 more" in page.text
    assert "/<b>o.zarr/s&t" in page.text


def test_what_is_damaged_is_told_and_never_raised(tmp_path: Path) -> None:
    path = write_classed_samples(tmp_path / "o.zarr/train", noise())

    def broken(image: Any, mask: Any, rng: np.random.Generator) -> Any:
        if broken.armed:
            raise RuntimeError("<i>no</i>")
        return image, mask

    broken.armed = False
    sequence = FrontEnd(path, 2, transform=broken)
    broken.armed = True
    assert "<i>no</i>" in shown(sequence).text
    plain, split = FrontEnd(path, 2), open_split(path)
    for file in (path / "image/c").rglob("*"):
        if file.is_file():
            file.write_bytes(b"")
    for thing in (plain, split):
        page = shown(thing)
        assert "can't be drawn" in page.text
        assert "200 × 300 × 3" in page.text
        assert not page.pictures
    cases = write_classed_cases(
        tmp_path / "c.zarr/s", {"p": ct((10, 20, 30), 0, lesions=2)}, (8, 16, 16)
    )
    zarr.open_array(str(cases / "case_size"))[:] = -1
    assert "can't be drawn" in shown(open_split(cases)).text
