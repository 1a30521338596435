"""Records, rows and tars without masks are packed as images alone, and only if that is meant."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import imagecodecs
import keras
import numpy as np
import pytest

from source_seeds import framed
from zarrfeed import SplitReader, ZarrSequence, open_split
from zarrfeed.errors import SourceError
from zarrfeed_convert import convert, open_source, repack, verify
from zarrfeed_convert.formats import source_of

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
features = pytest.importorskip("zarrfeed_convert.sources.records.features")

COUNT, SIZE = 5, (12, 10)
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (COUNT, *SIZE, 3), np.uint8)
MASKS = RNG.integers(0, 3, (COUNT, *SIZE), np.uint8)

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


def write(kind, rows):
    """Write rows, each of values by name; values are bytes, or lists of numbers."""
    {"parquet": write_table, "tfrecord": write_records, "webdataset": write_tar}[kind](rows)
    return NAMES[kind][2]


def write_table(rows):
    columns = dict.fromkeys(name for row in rows for name in row)
    pq.write_table(pa.table({n: [row.get(n) for row in rows] for n in columns}), "a.parquet")


def write_records(rows, path="a.tfrecord"):
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
    Path(path).write_bytes(b"".join(records))


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


def stored(path):
    """The arrays of a split, in the order of the samples' keys."""
    with SplitReader(open_split(path)) as reader:
        found = reader.read(range(COUNT))
    with SplitReader(open_split(path), ["key"]) as reader:
        keys = reader.read(range(COUNT))["key"]
    order = np.argsort([row.tobytes() for row in keys])
    return {name: values[order] for name, values in found.items()}


def require_verified(path):
    found = verify(path, source=True)
    assert found.ok, found.problems


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
        require_verified(split)
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
        with pytest.raises(SourceError, match=r"needed none of it with --masks none, found '"):
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


def test_texts_of_tables_may_be_masks_only_where_images_are_paths():
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


def test_tables_of_which_only_some_have_masks_are_refused():
    Path("d").mkdir()
    for number, masks in enumerate(([], range(COUNT))):
        Path(write("parquet", rows_of("parquet", masks=masks))).rename(f"d/{number}.parquet")
    with pytest.raises(SourceError, match=r"^d/0\.parquet: .*'annotation' as d/1\.parquet has it"):
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
