"""Records, rows and tars give images alone only where that is meant, and further fields."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import imagecodecs
import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from source_seeds import framed
from stored_samples import attributes, require_verified
from stored_samples import in_order_of_keys as stored
from zarrfeed import ZarrSequence
from zarrfeed.errors import SourceError
from zarrfeed_convert import Limits, convert, open_source, repack
from zarrfeed_convert.formats import source_of
from zarrfeed_tools.cli import app

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
features = pytest.importorskip("zarrfeed_convert.sources.records.features")
row_groups = pytest.importorskip("zarrfeed_convert.sources.records.row_groups")

COUNT, SIZE = 5, (12, 10)
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (COUNT, *SIZE, 3), np.uint8)
MASKS = RNG.integers(0, 3, (COUNT, *SIZE), np.uint8)

AFTER = RNG.integers(0, 256, (COUNT, *SIZE, 3), np.uint8)
OBJECTS = RNG.integers(0, 60_000, (COUNT, *SIZE)).astype(np.uint16)
DEPTHS = RNG.random((COUNT, *SIZE), np.float32) * 80
FLOWS = RNG.integers(-900, 900, (COUNT, *SIZE, 2)).astype(np.int16)

# What images and masks are called where nothing else is said, and where their files are.
NAMES = {
    "parquet": ("image", "annotation", "a.parquet"),
    "tfrecord": ("image", "mask", "a.tfrecord"),
    "webdataset": ("png", "mask.png", "a.tar"),
}
FORMATS = [*NAMES]


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def png(values):
    return imagecodecs.png_encode(values)


def npy(values):
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def write(kind, rows):
    """Write rows, each of values by name; values are bytes, or lists of numbers."""
    {"parquet": write_table, "tfrecord": write_records, "webdataset": write_tar}[kind](rows)
    return NAMES[kind][2]


def write_table(rows, **options):
    columns = dict.fromkeys(name for row in rows for name in row)
    table = pa.table({name: [row.get(name) for row in rows] for name in columns})
    pq.write_table(table, "a.parquet", **options)


def write_records(rows):
    records = []
    for row in rows:
        example = features._EXAMPLE()
        for name, value in row.items():
            entry = example.features.feature.add(key=name)
            if isinstance(value, bytes):
                entry.value.bytes_list.value.append(value)
            elif isinstance(value[0], float):
                entry.value.float_list.value.extend(value)
            else:
                entry.value.int64_list.value.extend(value)
        records.append(framed(example.SerializeToString()))
    Path("a.tfrecord").write_bytes(b"".join(records))


def write_tar(rows):
    with tarfile.open("a.tar", "w") as tar:
        for number, row in enumerate(rows):
            for suffix, data in row.items():
                info = tarfile.TarInfo(f"{number:03}.{suffix}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


def rows_of(kind, *, masks=(), **more):
    """Rows with images, with masks where they are asked for, and with more."""
    image, mask, _ = NAMES[kind]
    rows = [{image: png(IMAGES[number])} for number in range(COUNT)]
    for number in masks:
        rows[number][mask] = png(MASKS[number])
    for name, values in more.items():
        for row, value in zip(rows, values, strict=True):
            row[name] = value
    return rows


@pytest.mark.parametrize("kind", FORMATS)
def test_images_without_masks_are_packed_checked_repacked_and_predicted(kind):
    texts = [f"scene {number}" for number in range(COUNT)]
    texts = texts if kind == "parquet" else [text.encode() for text in texts]
    path = write(kind, rows_of(kind, txt=texts))
    source = open_source(kind, {"images": path})
    report = convert(source, "o.zarr", split="test", workers=1)
    assert "none" in {decision.value for decision in report.decisions if decision.what == "masks"}
    assert convert(source, "o.zarr", split="test").status == "already packed"
    repack("o.zarr/test", "p.zarr", split="test", codec="zstd", workers=1)
    for split in ("o.zarr/test", "p.zarr/test"):
        require_verified(split, source=True)
        found = stored(split)
        assert list(found) == ["image"]
        np.testing.assert_array_equal(found["image"], IMAGES)
    model = keras.Sequential([keras.Input((*SIZE, 3)), keras.layers.Conv2D(2, 1)])
    with ZarrSequence("o.zarr/test", 2, shuffle=False) as seq:
        assert model.predict(seq, verbose=0).shape == (COUNT, *SIZE, 2)


@pytest.mark.parametrize("kind", FORMATS)
def test_none_packs_images_alone_where_there_are_masks(kind):
    path = write(kind, rows_of(kind, masks=range(3)))
    source = open_source(kind, {"images": path, "masks": "none"})
    assert [field.name for field in source.fields] == ["image"]
    assert not source.left_out
    assert len(source.names(0)) == 1
    for again in (source, source_of(source.describe())):
        assert again.describe() == source.describe()
        for sample in range(COUNT):
            [image] = again.read(sample)
            np.testing.assert_array_equal(image, IMAGES[sample])
            assert again.probe(sample).arrays == {"image": (image.shape, "uint8")}
    mask = NAMES[kind][1]
    for said in ({"mask": mask}, {"mask_map": "2=1"}):
        with pytest.raises(SourceError, match=r"needed no value with --masks none, found '"):
            open_source(kind, {"images": path, "masks": "none", **said})


@pytest.mark.parametrize("kind", FORMATS)
def test_what_is_packed_alone_stays_so_when_masks_come(kind):
    source = open_source(kind, {"images": write(kind, rows_of(kind))})
    write(kind, rows_of(kind, masks=range(COUNT)))
    assert [field.name for field in source_of(source.describe()).fields] == ["image"]


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("masks", [[0, 1], [3, 4]])
def test_samples_of_which_only_some_have_masks_are_no_images_alone(kind, masks):
    path = write(kind, rows_of(kind, masks=masks))
    with pytest.raises(SourceError, match=r"(it has|it holds) no mask|needed (no|the) feature"):
        convert(open_source(kind, {"images": path}), "o.zarr", split="train", classes=3, workers=1)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("said", [{"mask": "gt.png"}, {"mask_map": "2=1"}])
def test_masks_that_something_is_said_of_must_be_there(kind, said):
    path = write(kind, rows_of(kind))
    with pytest.raises(SourceError, match=f"needed .*{said.get('mask', NAMES[kind][1])}"):
        open_source(kind, {"images": path, **said})


@pytest.mark.parametrize("kind", FORMATS)
def test_what_may_be_masks_by_another_name_is_asked_about(kind):
    path = write(kind, rows_of(kind, **{"gt.png": [png(mask) for mask in MASKS]}))
    with pytest.raises(SourceError, match=r"found .*gt\.png.*-o mask=.*--masks none"):
        open_source(kind, {"images": path})
    source = open_source(kind, {"images": path, "mask": "gt.png"})
    np.testing.assert_array_equal(source.read_mask(1), MASKS[1])
    convert(open_source(kind, {"images": path, "masks": "none"}), "o.zarr", split="a", workers=1)
    assert list(stored("o.zarr/a")) == ["image"]


@pytest.mark.parametrize("value", [MASKS[0].tobytes(), MASKS[0].ravel().tolist()])
def test_numbers_for_every_pixel_of_a_record_may_be_a_mask(value):
    write_records([{"image": png(IMAGES[0]), "gt": value, "id": [1], "name": b"a.png"}])
    with pytest.raises(SourceError, match=r"found gt; if one of them is the mask"):
        open_source("tfrecord", {"images": "a.tfrecord"})


def test_texts_of_tables_may_be_masks_where_images_are_paths():
    Path("0.png").write_bytes(png(IMAGES[0]))
    for image, packed in ((png(IMAGES[0]), True), ("0.png", False)):
        pq.write_table(pa.table({"image": [image], "caption": ["a"], "label": [3]}), "a.parquet")
        if packed:
            assert len(open_source("parquet", {"images": "a.parquet"}).fields) == 1
        else:
            with pytest.raises(SourceError, match=r"found caption; .*--masks none"):
                open_source("parquet", {"images": "a.parquet"})
    source = open_source("parquet", {"images": "a.parquet", "masks": "none"})
    np.testing.assert_array_equal(source.read(0)[0], IMAGES[0])


@pytest.mark.parametrize(
    ("column", "texts", "may_be"),
    [
        ("mask", ["a", "b", "c"], True),
        ("Seg_file", ["a", "b", "c"], True),
        ("gt", ["m/0.png", "m/1.png", "m/2.png"], True),
        ("gt", [None, "m/1.NPY", None], True),
        ("gt", ["a.txt", "m/1.png", "m/2.png"], False),
        ("message", ["a", "b", "c"], False),
        ("gt", [None, None, None], False),
    ],
)
@pytest.mark.parametrize("coded", [False, True])
def test_texts_beside_images_may_be_masks_by_their_name_or_ending(column, texts, may_be, coded):
    values = pa.array(texts, pa.string())
    images = [{"bytes": png(image), "path": None} for image in IMAGES[:3]]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    values = values.dictionary_encode() if coded else values
    pq.write_table(pa.table({"image": pa.array(images, kind), column: values}), "a.parquet")
    if may_be:
        with pytest.raises(SourceError, match=f"found {column}; if one of them.*--masks none"):
            open_source("parquet", {"images": "a.parquet"})
    source = open_source("parquet", {"images": "a.parquet", "masks": "none" if may_be else ""})
    assert len(source.fields) == 1
    np.testing.assert_array_equal(source.read(2)[0], IMAGES[2])


def test_texts_that_are_too_large_to_read_are_no_paths():
    texts = [chr(97 + row) * 100_000 + ".png" for row in range(2)]
    pq.write_table(pa.table({"image": [png(i) for i in IMAGES[:2]], "gt": texts}), "a.parquet")
    with pytest.raises(SourceError, match="found gt"):
        open_source("parquet", {"images": "a.parquet"})
    limits = Limits(sample_nbytes=50_000)
    assert len(open_source("parquet", {"images": "a.parquet"}, limits=limits).fields) == 1


def test_tables_of_which_only_some_have_masks_are_refused():
    Path("d").mkdir()
    for number, masks in enumerate(([], range(COUNT))):
        Path(write("parquet", rows_of("parquet", masks=masks))).rename(f"d/{number}.parquet")
    with pytest.raises(SourceError, match=r"^d/0\.parquet: .*'annotation', as d/1\.parquet has"):
        open_source("parquet", {"images": "d"})


def test_masks_in_tars_of_keys_of_their_own_are_not_packed_as_images():
    with tarfile.open("a.tar", "w") as tar:
        for name, data in (("a.jpg", imagecodecs.jpeg_encode(IMAGES[0])),
                           ("a_mask.png", png(MASKS[0]))):  # fmt: skip
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    with pytest.raises(SourceError, match=r"needed masks beside the images, found files jpg \(1\)"):
        open_source("webdataset", {"images": "a.tar"})


@pytest.mark.parametrize(
    ("suffix", "may_be"),
    [("mask", True), ("seg.npz", True), ("label.json", True), ("cls", False), ("json", False)],
)
def test_files_of_tars_that_are_named_like_masks_are_asked_about(suffix, may_be):
    with tarfile.open("a.tar", "w") as tar:
        for name, data in (("0.png", png(IMAGES[0])), (f"0.{suffix}", b"1")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    if may_be:
        with pytest.raises(SourceError, match=rf"{suffix} \(1\).*-o mask=SUFFIX.*--masks none"):
            open_source("webdataset", {"images": "a.tar"})
    source = open_source("webdataset", {"images": "a.tar", "masks": "none" if may_be else ""})
    np.testing.assert_array_equal(source.read(0)[0], IMAGES[0])


def test_a_first_record_that_is_damaged_does_not_decide():
    write("tfrecord", rows_of("tfrecord"))
    data = bytearray(Path("a.tfrecord").read_bytes())
    data[60] ^= 1
    Path("a.tfrecord").write_bytes(data)
    source = open_source("tfrecord", {"images": "a.tfrecord"})
    assert len(source.fields) == 1
    with pytest.raises(SourceError, match="fits its checksum"):
        source.probe(0)
    np.testing.assert_array_equal(source.read(1)[0], IMAGES[1])


# -- further fields --------------------------------------------------------------------------------

FIELDS = {
    "after": "image:after.png",
    "objects": "mask:objects.png",
    "depth": "target:depth.npy",
    "mm": "target:objects.png",
    "flow": "target:flow.npy",
}
STORED = {"image": IMAGES, "mask": MASKS, "after": AFTER, "objects": OBJECTS, "depth": DEPTHS,
          "mm": OBJECTS, "flow": FLOWS}  # fmt: skip


def rows_of_fields(kind, masks=range(COUNT)):
    more = {"after.png": map(png, AFTER), "objects.png": map(png, OBJECTS),
            "depth.npy": map(npy, DEPTHS), "flow.npy": map(npy, FLOWS)}  # fmt: skip
    return rows_of(kind, masks=masks, **more)


@pytest.mark.parametrize("masks", [True, False])
@pytest.mark.parametrize("kind", FORMATS)
def test_fields_of_every_role_are_packed_checked_and_repacked(kind, masks):
    path = write(kind, rows_of_fields(kind, masks=range(COUNT) if masks else ()))
    fields = {name: text for name, text in FIELDS.items() if (kind, name) != ("webdataset", "mm")}
    names = [name for name in STORED if name in ("image", *["mask"] * masks, *fields)]
    source = open_source(kind, {"images": path, "fields": fields})
    assert source_of(source.describe()).describe() == source.describe()
    options = {"classes": 3} if masks else {}
    report = convert(source, "o.zarr", split="train", workers=1, **options)
    assert [field.name for field in report.fields] == names
    assert attributes(Path("o.zarr/train"))["source"]["fields"] == fields
    repack("o.zarr/train", "p.zarr", split="train", codec="lz4", workers=1)
    for split in ("o.zarr/train", "p.zarr/train"):
        require_verified(split, source=True)
        found = stored(split)
        assert list(found) == names
        for name in names:
            assert found[name].dtype == STORED[name].dtype
            np.testing.assert_array_equal(found[name], STORED[name], err_msg=name)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_field_by_an_options_name_is_not_recorded_where_it_is_not_given(kind):
    source = open_source(kind, {"images": write(kind, rows_of(kind, masks=range(COUNT)))})
    assert not {"fields", "target_dtype"} & source.describe().keys()


@pytest.mark.parametrize("kind", FORMATS)
def test_a_depth_map_of_records_trains(kind):
    path = write(kind, rows_of_fields(kind))
    source = open_source(kind, {"images": path, "fields": {"depth": FIELDS["depth"]}})
    convert(source, "o.zarr", split="train", classes=3, workers=1)
    model = keras.Sequential(
        [keras.Input((*SIZE, 3)), keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(1, 1)]
    )
    model.compile(loss="mse")
    with ZarrSequence("o.zarr/train", 2, fields=("image", "depth")) as seq:
        assert len(model.fit(seq, epochs=2, verbose=0).history["loss"]) == 2


@settings(max_examples=30)
@given(
    kind=st.sampled_from(FORMATS),
    values=st.lists(st.integers(1, 250), min_size=1, max_size=12, unique=True),
    group=st.integers(1, 12),
    order=st.randoms(use_true_random=False),
)
def test_fields_are_those_of_their_record(tmp_path_factory, kind, values, group, order):
    """Whatever the order, the row groups and the cache: no field is another record's."""
    image, mask, name = NAMES[kind]
    rows = [
        {image: png(np.full((4, 3, 3), value, np.uint8)),
         mask: png(np.full((4, 3), value, np.uint8)),
         "far.npy": npy(np.full((4, 3), value * 1000, np.int32)),
         "ids.png": png(np.full((4, 3), value * 200, np.uint16))}
        for value in values
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("rows"))
        options = {"cache_mib": 0} if kind == "parquet" else {}
        if kind == "parquet":
            patch.setattr(row_groups, "_BLOCK", 500)
            write_table(rows, row_group_size=group)
        else:
            write(kind, rows)
        fields = {"far": "target:far.npy", "ids": "mask:ids.png"}
        source = open_source(kind, {"images": name, "fields": fields, **options})
        visits = [*range(len(values))] * 2
        order.shuffle(visits)
        for sample in visits:
            found = [set(array.ravel().tolist()) for array in source.read(sample)]
            value = values[sample]
            assert found == [{value}, {value}, {value * 1000}, {value * 200}]
            arrays = source.probe(sample).arrays
            assert arrays["far"] == ((4, 3), "int32")
            assert arrays["ids"] == ((4, 3), "uint16")


@pytest.mark.parametrize("shape", [{}, {"shape": "12x10"}, {"shape": "12x10x3"}])
@pytest.mark.parametrize("kind", ["parquet", "tfrecord"])
def test_bare_numbers_of_targets_have_a_dtype_of_their_own(kind, shape):
    sized = {"height": [SIZE[0]] if kind == "tfrecord" else SIZE[0],
             "width": [SIZE[1]] if kind == "tfrecord" else SIZE[1]}  # fmt: skip
    image, mask, _ = NAMES[kind]
    rows = [
        {image: IMAGES[n].tobytes(), mask: MASKS[n].tobytes(),
         "z": DEPTHS[n].astype(">f4").tobytes(), **sized}
        for n in range(COUNT)
    ]  # fmt: skip
    source = open_source(kind, {
        "images": write(kind, rows), "dtype": "uint8", "mask_dtype": "uint8", "target_dtype": ">f4",
        "fields": {"depth": "target:z"}, **shape,
    })  # fmt: skip
    assert source_of(source.describe()).describe() == source.describe()
    for sample in range(COUNT):
        _, ids, depth = source.read(sample)
        np.testing.assert_array_equal(ids, MASKS[sample])
        np.testing.assert_array_equal(depth, DEPTHS[sample])
        assert depth.dtype == "float32"
        assert depth.flags.writeable
        assert source.probe(sample).arrays["depth"] == (SIZE, "float32")


@pytest.mark.parametrize("kind", ["parquet", "tfrecord"])
def test_lists_of_targets_stay_what_they_are(kind):
    """Of images, integers are taken for bytes; a target's are numbers."""
    flat = kind == "tfrecord"
    rows = rows_of(
        kind,
        masks=range(COUNT),
        far=[(OBJECTS[n].astype(int) - 9).ravel().tolist() for n in range(COUNT)],
        near=[DEPTHS[n].ravel().tolist() for n in range(COUNT)],
        height=[[SIZE[0]] if flat else SIZE[0]] * COUNT,
        width=[[SIZE[1]] if flat else SIZE[1]] * COUNT,
    )
    fields = {"far": "target:far", "near": "target:near"}
    source = open_source(kind, {"images": write(kind, rows), "fields": fields})
    for sample in range(COUNT):
        *_, far, near = source.read(sample)
        arrays = source.probe(sample).arrays
        assert arrays["far"] == (SIZE, "int32")
        assert arrays["near"].dtype == near.dtype == ("float32" if flat else "float64")
        assert far.dtype == "int32"
        np.testing.assert_array_equal(far, OBJECTS[sample].astype(int) - 9)
        np.testing.assert_array_equal(near.astype(np.float32), DEPTHS[sample])
    rows[2]["far"] = [1 << 40] * (SIZE[0] * SIZE[1])
    source = open_source(kind, {"images": write(kind, rows), "fields": fields})
    with pytest.raises(SourceError, match=r"(row|record)=2, far\]: needed integers that int32"):
        source.read(2)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_field_that_is_not_there_is_named(kind):
    path = write(kind, rows_of_fields(kind))
    said = r"has no depth|needed the (column|feature) 'nowhere'.*with --field depth=target:"
    if kind == "webdataset":
        said = r"needed samples with image .* and mask .* and depth \(nowhere\), found files"
    with pytest.raises(SourceError, match=said):
        open_source(kind, {"images": path, "fields": {"depth": "target:nowhere"}})


@pytest.mark.parametrize("kind", FORMATS)
def test_records_that_lack_a_field_are_told(kind):
    rows = rows_of_fields(kind)
    del rows[1]["depth.npy"]
    source = open_source(kind, {"images": write(kind, rows), "fields": {"depth": FIELDS["depth"]}})
    if kind == "tfrecord":  # whose records are not looked at before
        with pytest.raises(SourceError, match=r"record=1, depth.npy\]: needed the feature"):
            source.probe(1)
    else:
        [(_, why)] = source.left_out
        assert "it holds no depth" in why or "it has no depth" in why
        np.testing.assert_array_equal(source.read(1)[2], DEPTHS[2])
    with pytest.raises(SourceError, match=r"depth"):
        convert(source, "o.zarr", split="train", classes=3, workers=1)
    assert not Path("o.zarr/train").exists()


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    ("value", "said"),
    [
        (npy(np.zeros((3, 3), np.float32)), "image and depth differ in size"),
        (npy(np.zeros(SIZE, np.float64)), "needed every depth to be of one kind"),
        (npy(np.zeros(SIZE, complex)), "complex"),
        (npy(DEPTHS[0])[:-1], "ends early|cannot be read"),
        (b"no picture", "cannot be decoded|it is empty"),
        (npy(DEPTHS[0]).replace(b"(12, 10)", b"(99999, 99999)").replace(b" " * 7, b" ", 1),
         "99999×99999"),
    ],
    ids=["size", "dtype", "complex", "cut", "none", "claim"],
)  # fmt: skip
def test_what_cannot_be_a_field_ends_the_conversion_and_is_named(kind, value, said):
    rows = rows_of_fields(kind)
    rows[3]["depth.npy"] = value
    source = open_source(kind, {"images": write(kind, rows), "fields": {"depth": FIELDS["depth"]}})
    with pytest.raises(SourceError, match=said):
        convert(source, "o.zarr", split="train", classes=3, workers=1)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    ("role", "values", "said"),
    [
        ("mask", IMAGES[..., 0], "found a JPEG of .* values; JPEG changes mask values"),
        ("target", IMAGES, "found the colours of a JPEG"),
    ],
)
def test_numbers_that_jpeg_changed_are_refused_by_their_bytes(kind, role, values, said):
    jpegs = [imagecodecs.jpeg_encode(np.ascontiguousarray(value)) for value in values]
    where = write(kind, rows_of(kind, **{"x.jpg": jpegs}))
    source = open_source(kind, {"images": where, "fields": {"ids": f"{role}:x.jpg"}})
    with pytest.raises(SourceError, match=said):
        convert(source, "o.zarr", split="train", workers=1)


@pytest.mark.parametrize("values", [pa.nulls(COUNT, pa.binary()), pa.nulls(COUNT)])
def test_a_column_of_nothing_is_no_field(values):
    columns = {"image": [*map(png, IMAGES)], "annotation": [*map(png, MASKS)], "d": values}
    pq.write_table(pa.table(columns), "a.parquet")
    with pytest.raises(SourceError, match=r"row=0, d\]: it holds no depth|column d: needed images"):
        open_source("parquet", {"images": "a.parquet", "fields": {"depth": "target:d"}})


@pytest.mark.parametrize("values", [[1] * COUNT, [True] * COUNT, [0.5] * COUNT])
def test_a_column_of_single_numbers_is_no_field(values):
    columns = {"image": [*map(png, IMAGES)], "annotation": [*map(png, MASKS)], "d": values}
    pq.write_table(pa.table(columns), "a.parquet")
    with pytest.raises(SourceError, match=r"a\.parquet: column d: needed images as bytes, paths"):
        open_source("parquet", {"images": "a.parquet", "fields": {"depth": "target:d"}})


def test_pages_of_fields_are_as_affordable_as_those_of_images():
    small = Limits(sample_nbytes=1 << 20)
    for value, said in ((bytes(3 << 20), "a page"), ([0] * 1_000_000, "a (row|page)")):
        columns = {"image": [png(IMAGES[0])], "annotation": [png(MASKS[0])], "d": [value]}
        pq.write_table(pa.table(columns), "a.parquet", compression="zstd", use_dictionary=False)
        assert len(open_source("parquet", {"images": "a.parquet"}, limits=small).fields) == 2
        with pytest.raises(SourceError, match=rf"row group 0, d.*: needed {said} of at most 1 MiB"):
            open_source(
                "parquet", {"images": "a.parquet", "fields": {"d": "target:d"}}, limits=small
            )


def test_columns_of_fields_are_decoded_once_when_read_in_order(monkeypatch):
    monkeypatch.setattr(row_groups, "_BLOCK", 2000)
    write_table(rows_of_fields("parquet") * 8, row_group_size=20)
    taken = []
    take = row_groups._Reading._take

    def counted(reading, rows):
        taken.append((reading.key[1], rows))
        return take(reading, rows)

    monkeypatch.setattr(row_groups._Reading, "_take", counted)
    source = open_source("parquet", {"images": "a.parquet", "fields": FIELDS, "cache_mib": 0})
    for sample in range(8 * COUNT):
        source.read(sample)
    for column in ("image", "annotation", "after.png", "objects.png", "depth.npy", "flow.npy"):
        assert sum(rows for name, rows in taken if name == column) == 8 * COUNT
    assert 0 < source.memory_nbytes < 8 * COUNT * 5000


def test_extra_files_of_a_tar_are_neither_image_nor_mask():
    rows = [{"png": png(DEPTHS[n].astype(np.uint16)), "jpg": imagecodecs.jpeg_encode(IMAGES[n]),
             "npy": npy(DEPTHS[n])} for n in range(COUNT)]  # fmt: skip
    fields = {"mm": "target:png", "depth": "target:npy"}
    source = open_source("webdataset", {"images": write("webdataset", rows), "fields": fields})
    assert [field.name for field in source.fields] == ["image", "mm", "depth"]
    _, mm, depth = source.read(2)
    np.testing.assert_array_equal(mm, DEPTHS[2].astype(np.uint16))
    np.testing.assert_array_equal(depth, DEPTHS[2])


@pytest.mark.parametrize("kind", FORMATS)
def test_the_command_packs_fields_of_records(kind):
    path = write(kind, rows_of_fields(kind))
    done = CliRunner().invoke(app, [
        "convert", "o.zarr", "--split", "train", "--format", kind, "--images", path, "--classes",
        "3", "--field", f"depth={FIELDS['depth']}", "--workers", "1",
    ], env={"COLUMNS": "200"})  # fmt: skip
    assert done.exit_code == 0, done.output
    np.testing.assert_array_equal(stored("o.zarr/train")["depth"], DEPTHS)
    done = CliRunner().invoke(app, ["verify", "o.zarr", "--source"])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("masks", ["", "none"])
@pytest.mark.parametrize("kind", FORMATS)
def test_columns_are_no_paths_when_the_folder_changes(kind, masks, monkeypatch, tmp_path):
    path = write(kind, rows_of_fields(kind))
    arguments = {"images": path, "masks": masks, "fields": {"depth": FIELDS["depth"]}}
    source = open_source(kind, arguments)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    convert(source, "o.zarr", split="train", classes=None if masks else 3, workers=1)
    found = stored("o.zarr/train")
    assert ("mask" in found) == (not masks)
    np.testing.assert_array_equal(found["depth"], DEPTHS)
    recorded = attributes(Path("o.zarr/train"))["source"]
    assert recorded["images"] == str(tmp_path / path)
    assert (recorded["masks"], recorded["fields"]) == (masks, arguments["fields"])


@pytest.mark.parametrize(
    ("kind", "bare"), [*((kind, False) for kind in FORMATS), ("parquet", True), ("tfrecord", True)]
)
def test_masks_of_overlapping_classes_keep_a_channel_for_each(kind, bare):
    hot = RNG.integers(0, 2, (COUNT, *SIZE, 4), np.uint8)
    image, mask, _ = NAMES[kind]
    mask = "mask.npy" if kind == "webdataset" else mask
    rows = [
        {image: IMAGES[n].tobytes() if bare else png(IMAGES[n]),
         mask: hot[n].tobytes() if bare else npy(hot[n])}
        for n in range(COUNT)
    ]  # fmt: skip
    options = {"dtype": "uint8", "mask_dtype": "uint8", "shape": "12x10x3"} if bare else {}
    arguments = {"images": write(kind, rows), "mask_map": "multi-hot", **options}
    convert(open_source(kind, arguments), "o.zarr", split="train", workers=1)
    require_verified("o.zarr/train", source=True)
    np.testing.assert_array_equal(stored("o.zarr/train")["mask"], hot)
