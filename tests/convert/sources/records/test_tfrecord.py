"""TFRecord files that TensorFlow wrote hold for zarrfeed what they hold for TensorFlow."""

from __future__ import annotations

import gzip
import pickle
import subprocess
import sys
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from source_contract import require_packed, require_source
from zarrfeed.errors import SourceError
from zarrfeed_convert.formats import source_of
from zarrfeed_convert.sources.records.record_file import index_records

tf = pytest.importorskip("tensorflow")
tf_example = pytest.importorskip("zarrfeed_convert.sources.records.features")
TFRecords = pytest.importorskip("zarrfeed_convert.sources.records.tfrecord").TFRecords

SLIM = {"image": "image/encoded", "mask": "image/segmentation/class/encoded"}


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def feature(value):
    """A feature of the kind that fits a value."""
    if isinstance(value, bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
    if isinstance(value, list) and isinstance(value[0], bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=value))
    values = np.ravel(value)
    if values.dtype.kind == "f":
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def write(path, *records, compression=None):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for record in records:
            features = {name: feature(value) for name, value in record.items()}
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString())
    return Path(path)


def pair(seed=0, shape=(6, 8, 3), dtype="uint8"):
    rng = np.random.default_rng(seed)
    image = (rng.random(shape) * (250 if dtype == "uint8" else 60000)).astype(dtype)
    return image, rng.integers(0, 3, shape[:2], np.uint8)


def encoded(seed=0, shape=(6, 8, 3)):
    image, mask = pair(seed, shape)
    return {"image": imagecodecs.png_encode(image), "mask": imagecodecs.png_encode(mask)}


def agree(source, sample, image, mask):
    header = source.probe(sample)
    found, ids = source.read(sample)
    assert header.image.shape == found.shape
    assert header.mask.shape == ids.shape
    assert header.dtype == found.dtype.name
    assert found.flags.c_contiguous
    assert found.flags.writeable
    assert found.dtype.isnative
    assert ids.dtype in (np.uint8, np.uint16)
    np.testing.assert_array_equal(found, image if image.ndim == 3 else image[:, :, None])
    np.testing.assert_array_equal(ids, mask)
    np.testing.assert_array_equal(source.read_mask(sample), mask)


def test_a_deeplab_record_decodes_to_what_tensorflow_decodes():
    jpeg = tf.io.encode_jpeg(pair(1, (40, 32, 3))[0]).numpy()
    mask = tf.io.encode_png(pair(2, (40, 32, 1))[1][:, :, None]).numpy()
    write(
        "voc/train-00000-of-00002.tfrecord",
        {
            "image/encoded": jpeg,
            "image/filename": b"2007_000032",
            "image/format": b"jpeg",
            "image/height": [40],
            "image/width": [32],
            "image/channels": [3],
            "image/segmentation/class/encoded": mask,
            "image/segmentation/class/format": b"png",
        },
    )
    source = TFRecords("voc/train-*", **SLIM, key="image/filename")
    [record] = tf.data.TFRecordDataset("voc/train-00000-of-00002.tfrecord")
    names = [SLIM["image"], SLIM["mask"]]
    parsed = tf.io.parse_single_example(
        record, {name: tf.io.FixedLenFeature([], tf.string) for name in names}
    )
    image = tf.io.decode_jpeg(parsed[names[0]], dct_method="INTEGER_ACCURATE").numpy()
    ids = tf.io.decode_png(parsed[names[1]]).numpy()
    assert source.keys == ["2007_000032"]
    agree(source, 0, image, ids[:, :, 0])


def test_png_of_several_files_in_their_order():
    write("d/b.tfrecord", encoded(2) | {"height": b"unknown", "width": [0]})
    write("d/a.tfrecord", encoded(0), encoded(1))
    write("d/none.tfrecord")
    source = TFRecords("d")
    assert source.keys == ["a/000000", "a/000001", "b/000000"]
    assert source.names(1) == (
        "d/a.tfrecord[record=1, image]",
        "d/a.tfrecord[record=1, mask]",
    )
    for sample in range(3):
        agree(source, sample, *pair(sample))
    assert TFRecords("d/a.tfrecord").keys == source.keys[:2]
    assert source.describe()["facts"] == {"files": 3, "records": 3}


def test_shards_by_tensorflows_usual_name_have_keys_of_their_own():
    for shard in range(2):
        write(f"d/train.tfrecord-{shard:05}-of-00002", encoded(shard))
    assert TFRecords("d").keys == [f"train.tfrecord-{n:05}-of-00002/000000" for n in range(2)]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("shape", [(6, 8), (6, 8, 1), (6, 8, 3), (6, 8, 4)])
def test_raw_bytes_get_their_shape_from_features_or_from_an_option(dtype, shape):
    image, mask = pair(0, shape, dtype)
    record = {"image": image.tobytes(), "mask": mask.tobytes()}
    sized = {"image/height": [6], "image/width": [8], "shape": list(shape)}
    write("a.tfrecord", record | sized)
    given = {"dtype": dtype, "mask_dtype": "uint8"}
    for options in (
        {"height": "image/height", "width": "image/width"},
        {"shape": "x".join(map(str, shape))},
        {"shape": "6x8"},
        {"shape": "shape"},
    ):
        agree(TFRecords("a.tfrecord", **given, **options), 0, image, mask)


def test_numbers_keep_their_dtype_and_become_32_bits_if_these_hold_them():
    for dtype in ("int16", "int8", "float64", "float16", ">i2", "int32", "uint32", "int64"):
        image = (pair()[0] // 2).astype(dtype)
        record = {"image": image.tobytes(), "mask": pair()[1].astype("int32").tobytes()}
        write("a.tfrecord", record)
        source = TFRecords("a.tfrecord", shape="6x8", dtype=dtype, mask_dtype="int32")
        packed = "int32" if dtype == "int64" else np.dtype(dtype).newbyteorder("=")
        agree(source, 0, image.astype(packed), pair()[1])
    write("a.tfrecord", {"image": np.full((6, 8), 1 << 31, "i8").tobytes(), "mask": [0] * 48})
    with pytest.raises(SourceError, match=r"a\.tfrecord\[record=0, image\]: needed integers"):
        TFRecords("a.tfrecord", shape="6x8", dtype="int64").read(0)


def test_lists_of_integers_are_uint8_unless_said_otherwise():
    image, mask = pair()
    write("a.tfrecord", {"image": image, "mask": mask, "height": [6], "width": [8]})
    agree(TFRecords("a.tfrecord"), 0, image, mask)
    image = pair(0, (6, 8, 3), "uint16")[0]
    write("a.tfrecord", {"image": image, "mask": mask, "height": [6], "width": [8]})
    agree(TFRecords("a.tfrecord", dtype="uint16"), 0, image, mask)
    with pytest.raises(SourceError, match=r"needed numbers that uint8 holds, .*-o dtype=uint16"):
        TFRecords("a.tfrecord").read(0)


def test_lists_of_floats_are_float32_and_masks_of_them_whole_numbers():
    image, mask = pair(dtype="float32")
    sized = {"height": [6], "width": [8]}
    write("a.tfrecord", {"image": image, "mask": mask.astype("float32"), **sized})
    agree(TFRecords("a.tfrecord"), 0, image, mask)
    write("a.tfrecord", {"image": image, "mask": mask + 0.5, **sized})
    with pytest.raises(SourceError, match=r"record=0, mask\]: needed a mask of class ids"):
        TFRecords("a.tfrecord").read(0)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "int64", "bool"])
def test_serialized_tensors_say_their_shape_themselves(dtype):
    image, mask = pair()
    image = (image % 2).astype(dtype)
    record = {"image": image, "mask": mask.astype("int32")}
    write("a.tfrecord", {k: tf.io.serialize_tensor(v).numpy() for k, v in record.items()})
    agree(TFRecords("a.tfrecord"), 0, image.astype("float32" if "f" in dtype else "uint8"), mask)


def test_masks_may_be_in_files_of_their_own():
    write("i/a.tfrecord", *({"x": encoded(n)["image"]} for n in range(3)))
    write("m/a.tfrecord", *({"y": encoded(n)["mask"]} for n in range(2)))
    write("m/b.tfrecord", {"y": encoded(2)["mask"]})
    source = TFRecords("i/*", "m/*", image="x", mask="y")
    for sample in range(3):
        agree(source, sample, *pair(sample))
    assert source.names(2)[1] == "m/b.tfrecord[record=0, y]"
    with pytest.raises(SourceError, match=r"found 3 records in i/a\.tfrecord .* and 2 in m/a"):
        TFRecords("i/*", "m/a*", image="x", mask="y")


def test_a_mask_map_and_a_colour_apply():
    image, mask = pair()
    colors = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255]], np.uint8)[mask]
    write("a.tfrecord", {"image": image.tobytes(), "mask": colors.tobytes()})
    options = {"shape": "6x8", "dtype": "uint8", "mask_dtype": "uint8", "color": "grey"}
    source = TFRecords("a.tfrecord", **options, mask_map="#000000=0,#FF0000=1,#0000FF=2")
    np.testing.assert_array_equal(source.read_mask(0), mask)
    assert source.probe(0).channels == source.read(0)[0].shape[2] == 1


def test_a_feature_that_is_not_there_is_told_with_those_that_are():
    write("a.tfrecord", {"img": b"x", "gt": b"y"})
    with pytest.raises(SourceError) as error:
        TFRecords("a.tfrecord")
    assert str(error.value) == (
        "a.tfrecord[record=0, image]: needed the feature 'image', found gt, img; name it with "
        "-o image=FEATURE"
    )
    write("a.tfrecord", dict.fromkeys(SLIM.values(), b"x"))
    with pytest.raises(SourceError, match=r"add -o image=image/encoded -o mask=image/seg"):
        TFRecords("a.tfrecord")


@pytest.mark.parametrize(
    ("record", "options", "said"),
    [
        ({"image": b"no picture"}, {}, "cannot be decoded"),
        ({"image": b"\x08\x99"}, {}, "-o dtype=uint8"),
        ({"image": [b"a", b"b"]}, {}, "needed one value per record, found a list of 2"),
        ({"image": [1, 2, 3]}, {}, "needed the shape of 3 numbers in a row"),
        ({"image": [1, 2, 3]}, {"shape": "6x8"}, "needed 6×8 numbers, or as many for each"),
        ({"image": [1, 2, 3], "height": [-1], "width": [3]}, {}, "needed a height and a width"),
        ({"image": b"abc"}, {"dtype": "uint16", "shape": "1x1"}, "found 3 bytes; check -o dtype"),
        ({"image": np.arange(99.0)}, {"dtype": "u1", "shape": "1x1"}, r"needed an? "),
    ],
)
def test_a_value_that_cannot_be_read_names_the_record(record, options, said):
    write("a.tfrecord", encoded() | record)
    source = TFRecords("a.tfrecord", **options)
    with pytest.raises(SourceError, match=rf"^a\.tfrecord\[record=0, image\]: .*{said}"):
        source.read(0)


def test_a_record_without_its_feature_fails_alone():
    write("a.tfrecord", encoded(0), {"image": encoded(1)["image"]})
    source = TFRecords("a.tfrecord")
    agree(source, 0, *pair(0))
    for read in (source.probe, source.read, source.read_mask):
        with pytest.raises(SourceError, match=r"^a\.tfrecord\[record=1, mask\]: needed the featu"):
            read(1)


def test_a_flipped_bit_is_found_by_the_checksum():
    path = write("a.tfrecord", *(encoded(n) for n in range(3)))
    data = bytearray(path.read_bytes())
    offsets, broken = index_records(str(path))
    assert not broken
    data[offsets[1] + 60] ^= 4
    path.write_bytes(data)
    source = TFRecords("a.tfrecord")
    for read in (source.probe, source.read, source.read_mask):
        with pytest.raises(SourceError, match=r"^a\.tfrecord\[record=1, .*fits its checksum"):
            read(1)
    agree(source, 2, *pair(2))
    path.unlink()
    with pytest.raises(SourceError, match=r"^a\.tfrecord\[record=2, image\]: cannot be read"):
        source.read(2)


def test_what_follows_a_break_is_left_out():
    path = write("a.tfrecord", *(encoded(n) for n in range(3)))
    data = path.read_bytes()
    offsets, _ = index_records(str(path))
    path.write_bytes(data[:-1])
    source = TFRecords("a.tfrecord")
    assert source.keys == ["a/000000", "a/000001"]
    [(name, why)] = source.left_out
    assert name == "a.tfrecord[record=2]"
    assert f"needed {len(data)} bytes for record 2, found a file of {len(data) - 1}" in why
    path.write_bytes(data[: offsets[1]] + b"\1" + data[offsets[1] + 1 :])
    source = TFRecords("a.tfrecord")
    assert source.keys == ["a/000000"]
    assert "length of record 1 does not fit its checksum" in source.left_out[0][1]
    with pytest.raises(SourceError, match="images and masks cannot be matched without it"):
        TFRecords("a.tfrecord", "a.tfrecord")


@pytest.mark.parametrize(("name", "hint"), [("GZIP", "gzip -dc FILE"), ("ZLIB", "write it again")])
def test_compressed_files_are_refused_with_a_way_out(name, hint):
    path = write("a.tfrecord", encoded(), compression=name)
    with pytest.raises(SourceError, match=f"found a {name}-compressed one; .*{hint}"):
        TFRecords("a.tfrecord")
    unpack = gzip.decompress if name == "GZIP" else zlib.decompress
    Path("b.tfrecord").write_bytes(unpack(path.read_bytes()))
    agree(TFRecords("b.tfrecord"), 0, *pair())


def test_nothing_to_read_is_told():
    Path("empty").mkdir()
    write("none.tfrecord")
    Path("text.tfrecord").write_text("these are no records at all")
    Path("other.tfrecord").write_bytes(write("x/y", {"a": b""}).read_bytes())
    for where, said in (
        ("empty", "found no file in empty; looked for"),
        ("nowhere.tfrecord", "no such file or folder"),
        ("no*.x", "found no file in no"),
        ("none.tfrecord", "found no record in none"),
        ("text.tfrecord", "text.tfrecord: needed a TFRecord file, found something else"),
    ):
        with pytest.raises(SourceError, match=said):
            TFRecords(where)
    with pytest.raises(SourceError, match="option dtype: needed a type of numbers"):
        TFRecords("none.tfrecord", dtype="RGB")


def test_a_record_of_another_message_is_told():
    with tf.io.TFRecordWriter("a.tfrecord") as writer:
        writer.write(b"\xff\xff\xff")
    source = TFRecords("a.tfrecord")
    with pytest.raises(SourceError, match=r"^a\.tfrecord\[record=0, image\]: .*tf\.train\.Example"):
        source.probe(0)


def test_names_of_samples_must_differ_and_be_there():
    write("a.tfrecord", encoded() | {"id": [7]}, encoded(), encoded() | {"id": b"x.png"})
    source = TFRecords("a.tfrecord", key="id")
    assert source.keys == ["7", "x.png"]
    assert source.names(1)[0] == "a.tfrecord[record=2, image]"
    agree(source, 1, *pair())
    assert [name for name, _ in source.left_out] == ["a.tfrecord[record=1, id]"]
    write("a.tfrecord", encoded() | {"id": [7]}, encoded() | {"id": b"7"})
    with pytest.raises(SourceError, match=r"record=1, id\]: needed a name of its own, found '7'"):
        TFRecords("a.tfrecord", key="id")


def test_the_source_travels_and_opens_again_by_its_description():
    write("a.tfrecord", encoded())
    source = TFRecords(Path("a.tfrecord"), mask_map="2=1", color="grey")
    for again in (pickle.loads(pickle.dumps(source)), source_of(source.describe())):
        assert again.describe() == source.describe()
        assert again.keys == source.keys
        for one, other in zip(again.read(0), source.read(0), strict=True):
            np.testing.assert_array_equal(one, other)


def test_packed_records_hold_the_pixels(tmp_path):
    write("d/a.tfrecord", *(encoded(n) for n in range(5)))
    source = TFRecords("d")
    images, masks = zip(*map(pair, range(5)), strict=True)
    require_source(source, images, masks)
    require_packed(source, tmp_path / "o.zarr", images, masks, workers=2)


def test_tensorflow_is_not_loaded_by_reading():
    write("a.tfrecord", encoded())
    script = (
        "import sys; from zarrfeed_convert.sources.records.tfrecord import TFRecords;"
        "TFRecords('a.tfrecord').read(0); assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


@given(
    st.dictionaries(
        st.text(max_size=5),
        st.one_of(
            st.binary(max_size=20),
            st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=5),
            st.lists(st.floats(width=32), min_size=1, max_size=5),
        ),
        max_size=4,
    )
)
def test_every_example_is_parsed_as_tensorflow_parses_it(features):
    example = tf.train.Example(
        features=tf.train.Features(feature={name: feature(v) for name, v in features.items()})
    )
    parsed = tf_example.parse_example(example.SerializeToString(), name="x")
    assert parsed.keys() == features.keys()
    for name, value in features.items():
        np.testing.assert_array_equal(tf_example.value_of(parsed[name], name="x"), value)
