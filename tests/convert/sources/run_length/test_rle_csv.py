"""Run-length codes in CSV files, as competitions have them, become masks."""

from __future__ import annotations

import csv
import tracemalloc

import imagecodecs
import numpy as np
import pytest

from source_contract import require_packed, require_source
from zarrfeed.errors import SourceError
from zarrfeed_convert import convert, verify
from zarrfeed_convert.decoding.limits import Limits
from zarrfeed_convert.sources.instances.border_weights import border_weights
from zarrfeed_convert.sources.run_length import csv_records
from zarrfeed_convert.sources.run_length.csv_records import cells_of, records_of
from zarrfeed_convert.sources.run_length.image_names import ImageNames
from zarrfeed_convert.sources.run_length.rle_csv import RleCsv

SIZE = (20, 30)
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (3, *SIZE, 3), np.uint8)
LARGE, SMALL = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
LARGE[2:15, 3:20], SMALL[8:12, 10:25] = True, True


def cell(mask, *, order="columns", base=1):
    """Write a mask as Kaggle's own function does, for any order."""
    flat = np.concatenate([[0], (mask.T if order == "columns" else mask).ravel(), [0]])
    runs = np.flatnonzero(flat[1:] != flat[:-1]) + base
    runs[1::2] -= runs[::2]
    return " ".join(map(str, runs))


@pytest.fixture
def table(tmp_path):
    """Write images a, b and c, and a table of rows; give both places."""

    def table(header, *rows, name="t.csv", text=None):
        for key, image in zip("abc", IMAGES, strict=True):
            (tmp_path / "i").mkdir(exist_ok=True)
            (tmp_path / f"i/{key}.png").write_bytes(imagecodecs.png_encode(image))
        with (tmp_path / name).open("w", newline="") as file:
            if text is None:
                csv.writer(file).writerows([header.split(","), *rows])
            else:
                file.write(text)
        return tmp_path / "i", tmp_path / name

    return table


def test_a_row_for_each_instance(table, tmp_path):
    """As of the Airbus Ship Detection Challenge."""
    rows = [("a.png", cell(SMALL)), ("a.png", cell(LARGE)), ("b.png", ""), ("c.png", cell(SMALL))]
    places = table("ImageId,EncodedPixels", *rows)
    source = RleCsv(*places, names="ship")
    masks = [LARGE | SMALL, np.zeros(SIZE), SMALL]
    assert source.classes == ("background", "ship")
    require_source(source, IMAGES, masks)
    require_packed(source, tmp_path / "o.zarr", IMAGES, masks)
    facts = {"records": 4, "masks": 3, "images_without_mask": 1, "images_not_in_csv": 0}
    assert source.describe()["facts"] == facts
    numbers = RleCsv(*places, instances="keep")
    require_source(numbers, IMAGES, [np.select([SMALL, LARGE], [1, 2]), masks[1], SMALL])
    weights = RleCsv(*places, instances="boundary").read(0)[2]
    expected = border_weights(np.select([SMALL, LARGE], [1, 2]), w0=10, sigma=5)
    np.testing.assert_array_equal(weights, expected)
    assert RleCsv(*places, unannotated="leave_out").keys == ["a", "c"]


def test_a_row_for_each_class(table, tmp_path):
    """As of Severstal Steel Defect Detection, where classes are numbers."""
    rows = [("a.png", "4", cell(LARGE)), ("a.png", "1", cell(SMALL)), ("c.png", "2.0", cell(LARGE))]
    source = RleCsv(*table("ImageId,ClassId,EncodedPixels", *rows), unlisted="background")
    masks = [np.select([SMALL, LARGE], [1, 4]), np.zeros(SIZE), 2 * LARGE]
    assert source.classes == ("background", "1", "2", "3", "4")
    require_source(source, IMAGES, masks)
    convert(source, tmp_path / "o.zarr", split="train", workers=1)
    assert verify(tmp_path / "o.zarr", source=True, workers=1).ok


def test_classes_follow_the_names_of_images(table):
    """As of Severstal at first: four rows for each image, of which most are empty."""
    rows = [(f"{key}.png_{label}", "") for key in "ab" for label in range(1, 5)]
    rows[2] = ("a.png_3", cell(LARGE))
    places = table("ImageId_ClassId,EncodedPixels", *rows)
    source = RleCsv(*places, names="p,q,r,s")
    assert source.classes == ("background", "p", "q", "r", "s")
    require_source(source, IMAGES[:2], [3 * LARGE, np.zeros(SIZE)])
    assert "1 image left out" in source.remarks[0]
    rows = [("a.png_Fish", cell(SMALL)), ("a.png_Sugar", ""), ("b_Gravel", cell(LARGE))]
    source = RleCsv(*table("Image_Label,EncodedPixels", *rows))
    assert source.classes == ("background", "Fish", "Gravel", "Sugar")
    assert source.read_mask(1).max() == 2
    listed = RleCsv(*table("Image_Label,EncodedPixels", *rows), names="Sugar,Gravel,Fish")
    assert listed.read_mask(0).max() == 3


@pytest.mark.parametrize("order", ["columns", "rows"])
@pytest.mark.parametrize("base", [0, 1])
def test_pixels_are_counted_as_the_user_says(table, order, base):
    """Carvana counts along rows."""
    rows = [(key, cell(SMALL, order=order, base=base)) for key in ("x/a.png", "b", "C:\\d\\c.png")]
    source = RleCsv(*table("img,rle_mask", *rows), order=order, base=base)
    require_source(source, IMAGES, [SMALL] * 3)


def test_a_wrong_order_or_base_is_seen(table):
    places = table("id,rle", *((key, cell(SMALL)) for key in "abc"))
    with pytest.raises(SourceError, match=r"t.csv: needed runs .* use -o order=columns"):
        RleCsv(*places, order="rows")
    top = np.roll(SMALL, -8, axis=0)
    RleCsv(*table("id,rle", *((key, cell(top)) for key in "abc")))
    places = table("id,rle", *((key, cell(top, base=0)) for key in "abc"))
    with pytest.raises(SourceError, match=r"45 runs begin one pixel before .* use -o base=0"):
        RleCsv(*places)


def test_other_tables_are_read_too(table):
    text = f'\ufeffid;annotation;extra\r\n"a";"{cell(LARGE)}";1\r\n\r\nb;NaN;2\r\n'
    source = RleCsv(*table("", text=text))
    require_source(source, IMAGES[:2], [LARGE, np.zeros(SIZE)])
    text = "picture,where,kind\na," + cell(LARGE) + ",7\n"
    named = {"id_column": "picture", "rle_column": "where"}
    one = RleCsv(*table("", text=text), **named)
    assert one.classes == ("background", "foreground")
    assert RleCsv(*table("", text=text), **named, class_column="kind").read_mask(0).max() == 7
    relative = RleCsv(*table("", text="ImageId,EncodedPixels\na,3 2 4 1\nb, -1\n"), base=0,
                      starts="relative")  # fmt: skip
    flat = relative.read_mask(0).ravel("F")
    assert np.flatnonzero(flat).tolist() == [3, 4, 9]


def test_images_that_are_missing_are_left_out(table):
    source = RleCsv(*table("id,rle", ("a", cell(LARGE)), ("zz", cell(LARGE)), ("zz", "")))
    (left,) = source.left_out
    assert left[0] == "zz"
    assert "names it, but there is no such image" in left[1]
    names = ImageNames(["x/a.png", "y/a.png", "b.png"])
    assert [names.find(name) for name in ("a", "x/a", "b.png", "q")] == [-1, 0, 2, None]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "needed a header and records, found nothing"),
        ("a,b\n", {}, "needed a column for rle, found 'a', 'b'; name it by -o rle_column="),
        (
            "id,rle\n",
            {"rle_column": "rlee"},
            "needed the column 'rlee', found .*did you mean 'rle'",
        ),
        ("id,rle\nzz,1 2\n", {}, "needed names of the images, found 'zz', of which none is a file"),
        ("id,rle\na,1 2,3\n", {}, r"t.csv\[byte 7\]: needed 2 cells, as the header has, found 3"),
        ('id,rle\na,"1 2\n', {}, "needed a closing quotation mark, found none for the record at b"),
        ("id,class,rle\na,,1 2\n", {}, "needed a class, found an empty cell"),
        ("id,class,rle\na,99999999999,1 2\n", {}, "needed classes below 65535, found 99999999999"),
        ("id,class,rle\na,3,1 2\n", {"names": "x,y"}, "needed 3 names, up to that of class 3"),
        ("id,rle\na,1 2\n", {"names": "x,y"}, "needed one name, as the file has no classes, foun"),
        ("id,class,rle\na,cat,1 2\n", {"names": "dog"}, "option names: needed those that masks ha"),
        ("id,rle\na,1 2\n", {"order": "column"}, "option order: needed one of columns, rows"),
        ("id,rle\na,1 2\n", {"mask_map": "multi-hot"}, "multi-hot"),
    ],
)
def test_other_files_are_refused(table, text, options, message):
    with pytest.raises(SourceError, match=message):
        RleCsv(*table("", text=text), **options)


def test_runs_beyond_an_image_are_named(table):
    source = RleCsv(*table("id,rle", ("a", "1 2"), ("b", "590 20")))
    source.read(0)
    with pytest.raises(
        SourceError, match=r"t.csv\[b\]: needed runs of an image of 20x30, height x w"
    ):
        source.read(1)
    with pytest.raises(SourceError, match=r"a run of 20 pixels from 590 on, beyond the 600 pixels"):
        source.read_mask(1)


def test_text_that_is_no_text_is_refused(table):
    images, path = table("id,rle", ("a", "1 2"))
    path.write_bytes(b"id,rle\n\xff\xfe,1 2\n")
    with pytest.raises(SourceError, match="needed a CSV file in UTF-8"):
        RleCsv(images, path)
    with pytest.raises(SourceError, match=r"cannot read .*gone"):
        RleCsv(images, path.with_name("gone"))
    with pytest.raises(SourceError, match="needed the CSV file, found none"):
        RleCsv(images, "none")


def test_a_file_is_never_in_memory_as_a_whole(tmp_path, monkeypatch):
    path = tmp_path / "large.csv"
    with path.open("w") as file:
        file.write("id,rle\n")
        for number in range(200):
            file.write(f"{number}," + "1 1 " * 25_000 + "\n")
    assert path.stat().st_size > 20_000_000
    tracemalloc.start()
    assert sum(1 for _ in records_of(str(path))) == 201
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()
    monkeypatch.setattr(csv_records, "_LONGEST", 1000)
    with pytest.raises(SourceError, match="needed records of at most 0 MiB, found a longer one at"):
        [*records_of(str(path))]
    assert cells_of(b'"a ""b""",c', ",", "x") == ['a "b"', "c"]


def test_more_records_than_limits_allow_are_refused(table, monkeypatch):
    from zarrfeed_convert.sources.run_length import index

    monkeypatch.setattr(index, "_COUNTED", 2)
    places = table("id,rle", *[("a", "")] * 5)
    with pytest.raises(SourceError, match="needed at most 1 records, found a claim of 2"):
        RleCsv(*places, limits=Limits(sample_nbytes=128))
