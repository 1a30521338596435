"""A mask's values become class ids, or an error that says what to do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zarrfeed.errors import SourceError
from zarrfeed_convert import PairedFolders, convert
from zarrfeed_convert.decoding.pixels import Pixels
from zarrfeed_convert.labels import Labels, parse_classes
from zarrfeed_convert.mask_ids import mask_ids
from zarrfeed_convert.mask_map import MaskMap, parse_mask_map
from zarrfeed_convert.planning.class_advice import about_instances, about_sparse_ids
from zarrfeed_convert.planning.classes import labels_of_values

RED, BLUE = [255, 0, 0], [0, 0, 255]


def ids(values, text="", palette=None, dtype=np.uint8):
    pixels = Pixels(
        np.array(values, dtype), None if palette is None else np.array(palette, np.uint8)
    )
    return mask_ids(pixels, parse_mask_map(text), name="m.png").tolist()


def test_index_masks_are_their_own_ids():
    assert ids([[0, 5]]) == [[0, 5]]
    assert ids([[0, 500]], dtype=np.uint16) == [[0, 500]]
    assert ids([[0, 500]], dtype=np.int32) == [[0, 500]]


def test_mapped_values_change_and_others_stay():
    assert ids([[0, 255, 3]], "255=1") == [[0, 1, 3]]
    assert ids([[0, 255, 3]], "255=1,*=9") == [[9, 1, 9]]
    assert ids([[0, 255]], "255=300") == [[0, 300]]


def test_palette_masks_are_their_indices_unless_their_colors_are_mapped():
    assert ids([[1, 0]], palette=[RED, BLUE]) == [[1, 0]]
    assert ids([[1, 0]], "#FF0000=4,#0000FF=5", palette=[RED, BLUE]) == [[5, 4]]
    with pytest.raises(SourceError, match=r"does not name: #0000FF"):
        ids([[1, 0]], "#FF0000=4", palette=[RED, BLUE])


def test_color_masks_are_mapped_by_color():
    assert ids([[RED, BLUE]], "#ff0000=4,#0000FF=5") == [[4, 5]]
    assert ids([[RED, BLUE]], "#ff0000=4,*=0") == [[4, 0]]
    assert ids([[[*RED, 9], [*RED, 9]]], "#ff0000=4") == [[4, 4]]


TRANSPARENT = [0, 0, 0, 0]


def test_alpha_that_colors_say_already_is_no_mask():
    assert ids([[[*RED, 255], TRANSPARENT]], "#FF0000=4,#000000=0") == [[4, 0]]
    assert ids([[[7, 255], [0, 0]]]) == [[7, 0]]


@pytest.mark.parametrize(
    ("pixels", "text"),
    [
        ([[[0, 0, 0, 255], TRANSPARENT]], ""),
        ([[[*RED, 255], [*RED, 0]]], "#FF0000=1"),
        ([[[7, 255], [7, 0]]], ""),
        ([[[*RED, 255], [*RED, 120], [*BLUE, 255]]], "#FF0000=1,#0000FF=2"),
        ([[[9, 9, 9, 65535], [9, 9, 9, 1]]], ""),
    ],
)
def test_a_mask_drawn_in_alpha_is_refused_until_the_map_says_so(pixels, text):
    pixels = np.array(pixels, np.uint16 if np.max(pixels) > 255 else np.uint8)
    with pytest.raises(SourceError, match=r"m\.png: .*opacity.*; use --mask-map alpha"):
        mask_ids(Pixels(pixels), parse_mask_map(text), name="m.png")
    found = mask_ids(Pixels(pixels), parse_mask_map("alpha"), name="m.png")
    np.testing.assert_array_equal(found, pixels[:, :, -1])


def test_alpha_is_mapped_like_other_values():
    assert str(parse_mask_map("255=1, alpha,*=0")) == "alpha,255=1,*=0"
    assert ids([[[*RED, 255], [*RED, 3]]], "alpha,255=1,*=0") == [[1, 0]]
    assert ids([[0, 1]], "alpha", palette=[[*RED, 255], [*RED, 0]]) == [[255, 0]]
    with pytest.raises(SourceError, match="needed a mask with an alpha channel, found none"):
        ids([[RED, BLUE]], "alpha")


def test_palette_entries_of_one_color_that_differ_in_opacity_are_no_color():
    palette = [[*RED, 255], [*RED, 0]]
    assert ids([[0, 1]], palette=palette) == [[0, 1]]
    with pytest.raises(SourceError, match="needed colours of one opacity each"):
        ids([[0, 1]], "#FF0000=4", palette=palette)


def test_what_a_palette_shows_counts_before_its_index():
    assert ids([[0, 1]], "1=9,#0000FF=4,*=0", palette=[BLUE, RED]) == [[4, 9]]


def test_a_grey_file_among_color_masks_shows_grey_colors():
    assert ids([[0, 128]], "#000000=3,#808080=4,#FF0000=5") == [[3, 4]]
    with pytest.raises(SourceError, match="#070707"):
        ids([[7]], "#000000=3")


def test_grey_saved_as_color_is_grey():
    assert ids([[[7, 7, 7], [0, 0, 0]]]) == [[7, 0]]


def test_unmapped_colors_are_listed_and_the_hint_can_be_pasted():
    with pytest.raises(SourceError, match=r"m\.png.*#0000FF.*#FF0000") as error:
        ids([[RED, BLUE]])
    assert "--mask-map '#0000FF=0,#FF0000=1,…'" in str(error.value)
    many = [[[shade, 0, 1] for shade in range(30)]]
    with pytest.raises(SourceError, match="and 20 more"):
        ids(many)


@pytest.mark.parametrize(
    ("values", "dtype", "advice", "after"),
    [
        ([-1, 2], np.int16, "-1=255", [255, 2]),
        ([0, 70000], np.int32, "70000=255", [0, 255]),
        ([-(2**31), 4], np.int32, "-2147483648=255", [255, 4]),
        ([0, 0.25, 1], np.float32, "0.5..1=1,*=0", [0, 0, 1]),
        ([np.nan, 1], np.float64, "nan=255", [255, 1]),
        ([-1, 1], np.float32, "-1=255", [255, 1]),
    ],
)
def test_values_that_are_no_ids_are_refused_with_a_map_that_takes_them(
    values, dtype, advice, after
):
    with pytest.raises(SourceError) as error:
        ids([values], dtype=dtype)
    assert advice in str(error.value)
    assert ids([values], advice, dtype=dtype) == [after]


@pytest.mark.parametrize("text", ["0.5..1=1,*=0", "-1=255,nan=3", "one-hot=1,*=0", "-3..-0.1=2"])
def test_a_mask_map_is_written_as_it_is_read(text):
    assert str(parse_mask_map(text)) == text
    assert str(parse_mask_map(str(parse_mask_map("1e-7..1.5=2")))) == str(
        parse_mask_map("1e-7..1.5=2")
    )


@pytest.mark.parametrize(
    "text",
    ["255", "255=x", "#12=1", "#GGGGGG=1", "1=-1", "1=70000", "=1", "2..1=0", "1..=0", "..=0"],
)
def test_a_mask_map_that_cannot_be_read_is_quoted(text):
    with pytest.raises(SourceError, match="needed VALUE=ID"):
        parse_mask_map(text)


def test_a_value_mapped_twice_is_refused():
    with pytest.raises(SourceError, match="found 1 twice"):
        parse_mask_map("1=2,1=3")


@given(st.dictionaries(st.integers(0, 255), st.integers(0, 65535)), st.integers(0, 9))
def test_mapping_is_a_lookup(values, seed):
    mask = np.random.default_rng(seed).integers(0, 256, (4, 4), np.uint8)
    mapped = mask_ids(Pixels(mask), MaskMap(values), name="m")
    assert mapped.tolist() == [[values.get(v, v) for v in row] for row in mask.tolist()]


def test_classes_are_a_list_a_file_or_a_number(tmp_path):
    assert parse_classes("sky, tree") == ("sky", "tree")
    assert parse_classes("3") == parse_classes(3) == ("0", "1", "2")
    assert parse_classes("sky") == ("sky",)
    (tmp_path / "names.txt").write_text("sky\ngreen tree\n\n", encoding="utf-8")
    assert parse_classes(str(tmp_path / "names.txt")) == ("sky", "green tree")


@pytest.mark.parametrize("classes", ["a,a", "a,,b", "0", "", "nowhere/names.txt", [], 70000])
def test_classes_that_cannot_be_are_refused(classes):
    with pytest.raises(SourceError, match="classes"):
        parse_classes(classes)


def test_settled_masks_are_counted():
    mask, pixels = Labels(("a", "b"), 255).validate(np.array([[0, 1, 1, 255]]), name="m")
    assert mask.dtype == np.uint8
    assert pixels.tolist() == [1, 2]


def test_ids_above_255_make_wide_masks():
    assert Labels(("a",), 256).dtype == np.uint16
    assert Labels(tuple("abc"), 255).dtype == np.uint8


@pytest.mark.parametrize(
    ("values", "ignore", "said"),
    [
        ([0, 255], None, r"found the value 255; use --mask-map 255=1.*or --ignore 255"),
        ([0, 1, 255], None, r"0 … 1, found the value 255; use --ignore 255"),
        ([0, 7, 9, 255], 255, r"0 … 1 or 255 \(ignored\), found the values 7, 9;"),
    ],
)
def test_a_value_outside_the_classes_is_named_with_a_way_out(values, ignore, said):
    with pytest.raises(SourceError, match=r"m\.png: " + r".*" + said):
        Labels(("a", "b"), ignore).validate(np.array([values], np.uint8), name="m.png")


def test_classes_follow_from_values():
    assert labels_of_values({0: "a", 3: "b"}, ignore=None).classes == ("0", "1", "2", "3")
    assert labels_of_values({0: "a", 1: "a", 255: "b"}, ignore=255).classes == ("0", "1")
    assert labels_of_values({255: "a"}, ignore=None).binary
    with pytest.raises(SourceError, match=r"b\.png.*--ignore 255"):
        labels_of_values({0: "a", 1: "a", 255: "b.png"}, ignore=None)


SOFT = {0: 900, 255: 400, **dict.fromkeys(range(9, 250, 9), 3)}


@pytest.mark.parametrize("ignore", [None, 255])
def test_soft_edges_are_no_classes(ignore):
    with pytest.raises(SourceError) as error:
        labels_of_values(dict.fromkeys(SOFT, "a.png"), ignore=ignore, pixels=SOFT)
    assert "a.png: needed masks of class ids, found 0, 255 and 27 values between" in str(
        error.value
    )
    assert "'128..255=1,*=0'" in str(error.value)
    assert ids([[0, 127, 128, 255]], "128..255=1,*=0") == [[0, 0, 1, 1]]
    mask = np.repeat(list(SOFT), list(SOFT.values())).astype(np.uint8)[np.newaxis]
    with pytest.raises(SourceError, match=r"--mask-map '128\.\.255=1,\*=0'"):
        Labels(("a", "b"), ignore).validate(mask, name="m.png")


@pytest.mark.parametrize(
    "pixels",
    [
        {255: 900, **dict.fromkeys(range(20), 3)},  # scribbles: most is unlabelled
        dict.fromkeys(range(256), 3),  # 256 classes
        {0: 900, 255: 9, **dict.fromkeys(range(1, 151), 50)},  # ADE20K's 150
    ],
)
def test_classes_are_no_soft_edges(pixels):
    seen = dict.fromkeys(pixels, "a.png")
    assert labels_of_values(seen, ignore=255, pixels=pixels).classes[:20] == tuple(
        map(str, range(20))
    )


def test_beyond_8_bits_255_is_an_id_like_others():
    labels = labels_of_values(dict.fromkeys(range(301), "a.png"), ignore=None)
    assert len(labels.classes) == 301
    assert "--mask-map '0=0,*=1'" in about_instances(labels)
    assert about_instances(Labels(labels.classes[:200], None)) == ""


@pytest.mark.parametrize(
    ("count", "used", "said"),
    [
        (255, {0, 127, 254}, "--mask-map '0=0,127=1,254=2' makes it 3"),
        (16, {0, 1, 7, 15}, "only 0, 1, 7, 15 of 16 ids have pixels"),
        (16, {0, 1, 2, 7, 15}, ""),  # as a small part of a dataset may have
        (10, {9}, ""),
        (301, {0, 300}, ""),  # what to do with so many classes is told anyway
        (40, {0, 9, 39}, "'0=0,39=1' makes it 2"),  # 9 is ignored
    ],
)
def test_few_ids_far_apart_are_told_with_the_map_that_makes_them_classes(count, used, said):
    labels = Labels(tuple(map(str, range(count))), 9 if count == 40 else None)
    about = about_sparse_ids(labels, dict.fromkeys(used, 1))
    assert said in "".join(decision.reason for decision in about)
    assert bool(about) == bool(said)


def test_the_map_that_is_advised_leads_on(tmp_path, write_pairs):
    pairs = write_pairs(ids=(0, 127, 254))
    report = convert(PairedFolders(*pairs), tmp_path / "o.zarr", split="train", workers=1)
    advice = "--mask-map '0=0,127=1,254=2'"
    assert len(report.classes) == 255
    assert advice in str(report)
    assert "127=1" not in (tmp_path / "o.zarr/train/zarr.json").read_text("utf-8")
    mapped = PairedFolders(*pairs, mask_map="0=0,127=1,254=2")
    report = convert(mapped, tmp_path / "p.zarr", split="train", workers=1)
    assert len(report.classes) == 3
    assert "--mask-map" not in str(report)


def test_the_highest_of_16_bits_is_no_class_among_65536():
    with pytest.raises(SourceError, match=r"use --mask-map 65535=1 .* or --ignore 65535"):
        labels_of_values({0: "a.png", 65535: "a.png"}, ignore=None)
    assert ids([[0, 65535]], "65535=1", dtype=np.uint16) == [[0, 1]]
    assert labels_of_values({0: "a.png", 65535: "a.png"}, ignore=65535).classes == ("0",)


@pytest.mark.parametrize("values", [[0, 1, 255], [0, 255, 9], [0, 1, 2, 3]])
def test_jpeg_masks_of_other_values_are_to_be_saved_as_png(values):
    with pytest.raises(SourceError, match="JPEG changes mask values: save masks as PNG") as error:
        Labels(("a", "b"), None).validate(np.array([values], np.uint8), name="m/x.JPG")
    assert "--ignore" not in str(error.value)


@pytest.mark.parametrize("values", [[0, 3, 255], range(40)])
def test_no_classes_are_made_of_what_jpeg_smeared(values):
    with pytest.raises(SourceError, match=r"a\.jpg: .*JPEG masks of \d+ values; JPEG changes"):
        labels_of_values(dict.fromkeys(values, "a.jpg"), ignore=None)
    assert labels_of_values({0: "a.jpg", 255: "a.jpg"}, ignore=None).binary
    assert len(labels_of_values(dict.fromkeys(range(40), "a.png"), ignore=None).classes) == 40


def test_colors_that_jpeg_smeared_are_to_be_saved_as_png():
    pixels = Pixels(np.array([[RED, BLUE]], np.uint8))
    with pytest.raises(SourceError, match=r"#0000FF.*; JPEG changes mask values"):
        mask_ids(pixels, parse_mask_map("#FF0000=1"), name="m.jpeg")


@pytest.mark.parametrize("text", ["", "#FF0000=1"])
def test_a_mask_like_a_photograph_asks_whether_the_folders_are_swapped(text):
    photograph = [[[red, green, 9] for red in range(30)] for green in range(30)]
    with pytest.raises(SourceError, match=r"found 900 colours, .* --images and --masks swapped\?"):
        ids(photograph, text)
