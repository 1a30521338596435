"""Parquet tables hold for zarrfeed what Arrow finds in them, and what was put into them."""

from __future__ import annotations

import io
import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from source_contract import require_packed, require_source
from zarrfeed.errors import SourceError
from zarrfeed_convert import Limits
from zarrfeed_convert.formats import source_of

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
row_groups = pytest.importorskip("zarrfeed_convert.sources.records.row_groups")
ParquetTables = pytest.importorskip("zarrfeed_convert.sources.records.parquet").ParquetTables

HF_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def pair(seed=0, shape=(6, 8, 3), dtype="uint8"):
    rng = np.random.default_rng(seed)
    image = (rng.random(shape) * (250 if dtype == "uint8" else 60000)).astype(dtype)
    return image, rng.integers(0, 3, shape[:2], np.uint8)


def png(values):
    return imagecodecs.png_encode(values)


def pairs(count, encode=png):
    """Two columns: images and masks."""
    images, masks = zip(*(pair(number) for number in range(count)), strict=True)
    return {"image": [encode(i) for i in images], "annotation": [encode(m) for m in masks]}


def write(path, columns, *, types=None, metadata=None, **options):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({
        name: values if isinstance(values, pa.Array) else pa.array(values, (types or {}).get(name))
        for name, values in columns.items()
    })  # fmt: skip
    pq.write_table(table.replace_schema_metadata(metadata), path, **options)
    return Path(path)


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


def test_hugging_face_images_of_bytes_decode_to_what_pillow_decodes():
    """The schema is the one that `datasets` 5.2 writes for Image features."""
    images, masks = zip(*(pair(number, (40, 30, 3)) for number in range(3)), strict=True)
    jpegs = [imagecodecs.jpeg_encode(image, 95) for image in images]
    rows = {
        "image": [{"bytes": data, "path": None} for data in jpegs],
        "annotation": [{"bytes": png(mask), "path": f"{n}.png"} for n, mask in enumerate(masks)],
    }
    metadata = {"info": {"features": {name: {"_type": "Image"} for name in rows}}}
    write(
        "data/train-00000-of-00001.parquet",
        rows,
        types=dict.fromkeys(rows, HF_IMAGE),
        metadata={"huggingface": json.dumps(metadata)},
    )
    source = ParquetTables("data/train-*.parquet")
    assert source.keys == [f"train-00000-of-00001/{n:06}" for n in range(3)]
    assert source.classes is None
    assert not source.left_out
    for sample in range(3):
        decoded = np.array(Image.open(io.BytesIO(jpegs[sample])))
        agree(source, sample, decoded, masks[sample])


def test_images_that_are_paths_count_from_the_tables_folder():
    Path("d/files").mkdir(parents=True)
    for sample in range(3):
        image, mask = pair(sample)
        Path(f"d/files/{sample}.png").write_bytes(png(image))
        Path(f"d/files/{sample}_m.png").write_bytes(png(mask))
    structs = {
        "image": [{"bytes": None, "path": f"files/{n}.png"} for n in range(3)],
        "annotation": [{"bytes": None, "path": f"files/{n}_m.png"} for n in range(3)],
    }
    texts = {name: [row["path"] for row in rows] for name, rows in structs.items()}
    absolute = {name: [str(Path("d", p).resolve()) for p in rows] for name, rows in texts.items()}
    for rows, types, external in (
        (structs, dict.fromkeys(structs, HF_IMAGE), False),
        (texts, {}, False),
        (texts, dict.fromkeys(texts, pa.dictionary(pa.int32(), pa.string())), False),
        (absolute, dict.fromkeys(texts, pa.large_string()), True),
    ):
        write("d/t.parquet", rows, types=types)
        source = ParquetTables("d", limits=Limits(external=external))
        for sample in range(3):
            agree(source, sample, *pair(sample))
    Path("d/files/1.png").unlink()
    for read, said in ((source.probe, "cannot be decoded"), (source.read, "found none that can")):
        with pytest.raises(SourceError, match=rf"^d/t\.parquet\[row=1, image\]: .*1\.png.*{said}"):
            read(1)


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view()])
def test_plain_bytes_are_image_files(kind):
    columns = pairs(3)
    write("a.parquet", columns, types=dict.fromkeys(columns, kind))
    source = ParquetTables("a.parquet")
    for sample in range(3):
        agree(source, sample, *pair(sample))


def npy(values):
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def test_bytes_may_be_npy_files():
    write("a.parquet", pairs(3, npy))
    source = ParquetTables("a.parquet")
    for sample in range(3):
        agree(source, sample, *pair(sample))
    write("b.parquet", pairs(1, lambda values: npy(values)[:-1]))
    with pytest.raises(SourceError, match=r"^b\.parquet\[row=0, image\]: "):
        ParquetTables("b.parquet").read(0)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("shape", [(6, 8), (6, 8, 1), (6, 8, 3)])
def test_bare_numbers_get_their_shape_from_columns_or_from_an_option(dtype, shape):
    image, mask = pair(0, shape, dtype)
    sized = {"height": [6], "width": [8], "size": [list(shape)]}
    as_bytes = {"image": [image.tobytes()], "annotation": [mask.tobytes()]}
    as_lists = {"image": [image.ravel()], "annotation": [mask.ravel()]}
    for columns, types in (
        (as_bytes, {"dtype": dtype, "mask_dtype": "uint8"}),
        (as_lists, {}),
        ({**as_bytes, "image": pa.array(as_bytes["image"], pa.binary(image.nbytes))},
         {"dtype": dtype, "mask_dtype": "uint8"}),
    ):  # fmt: skip
        write("a.parquet", columns | sized)
        for options in ({}, {"shape": "x".join(map(str, shape))}, {"shape": "6x8"},
                        {"shape": "size"}):  # fmt: skip
            agree(ParquetTables("a.parquet", **types, **options), 0, image, mask)


def nested(kind, depth):
    for _ in range(depth):
        kind = pa.list_(kind)
    return kind


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "int16", "float64", "bool"])
def test_nested_lists_are_arrays(dtype):
    image, mask = pair()
    image = (image // 2).astype(dtype)
    number = pa.from_numpy_dtype(np.dtype(dtype))
    write(
        "a.parquet",
        {"image": [image.tolist()] * 2, "annotation": [mask.tolist()] * 2},
        types={"image": nested(number, 3), "annotation": nested(pa.int64(), 2)},
    )
    packed = "uint8" if dtype == "bool" else dtype
    agree(ParquetTables("a.parquet"), 1, image.astype(packed), mask)


def test_lists_of_python_integers_are_uint8_unless_said_otherwise():
    image, mask = pair(dtype="uint16")
    write("a.parquet", {"image": [image.tolist()], "annotation": [mask.tolist()]})
    agree(ParquetTables("a.parquet", dtype="uint16"), 0, image, mask)
    with pytest.raises(SourceError, match=r"row=0, image\]: needed numbers that uint8 holds"):
        ParquetTables("a.parquet").read(0)


def test_channels_may_come_first():
    image, mask = pair()
    planes = np.moveaxis(image, 2, 0)
    write("a.parquet", {"image": [planes.tolist()], "annotation": [mask[None].tolist()]})
    agree(ParquetTables("a.parquet", channels_first=True), 0, image, mask)
    with pytest.raises(SourceError, match="-o channels_first=yes"):
        ParquetTables("a.parquet").probe(0)
    write("a.parquet", {"image": [planes.ravel()], "annotation": [mask.ravel()]})
    agree(ParquetTables("a.parquet", channels_first=True, shape="6x8"), 0, image, mask)


def test_fixed_shape_tensors_are_arrays():
    images, masks = (np.stack(side) for side in zip(*map(pair, range(4)), strict=True))
    columns = {
        "image": pa.FixedShapeTensorArray.from_numpy_ndarray(images),
        "annotation": pa.FixedShapeTensorArray.from_numpy_ndarray(masks),
    }
    write("a.parquet", columns, row_group_size=3)
    source = ParquetTables("a.parquet")
    for sample in range(4):
        agree(source, sample, images[sample], masks[sample])


def test_a_list_of_one_image_is_that_image_and_several_are_said():
    images, masks = zip(*(pair(seed) for seed in range(2)), strict=True)
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    files = [[{"bytes": png(mask), "path": None}] for mask in masks]
    table = {
        "image": pa.array([png(image) for image in images]),
        "m": pa.array(files, pa.list_(kind)),
    }
    pq.write_table(pa.table(table), "one.parquet")
    source = ParquetTables("one.parquet", mask="m")
    for sample in range(2):
        agree(source, sample, images[sample], masks[sample])
    table["m"] = pa.array([file * 2 for file in files], pa.list_(kind))
    pq.write_table(pa.table(table), "two.parquet")
    with pytest.raises(
        SourceError, match=r"^two\.parquet\[row=1, m\]: .*found a list of 2 \(list<"
    ):
        ParquetTables("two.parquet", mask="m").read_mask(1)


def test_class_names_come_with_masks_that_are_class_labels():
    image, mask = pair()
    label = {"names": ["sky", "tree", "road"], "_type": "ClassLabel"}
    features = {"annotation": {"feature": {"feature": label, "_type": "List"}, "_type": "List"}}
    columns = {"image": [image.tolist()], "annotation": [mask.tolist()]}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    write("a.parquet", columns, metadata=metadata)
    assert ParquetTables("a.parquet").classes == ("sky", "tree", "road")
    assert ParquetTables("a.parquet", mask_map="2=1").classes is None
    older = {"annotation": [[label]]}
    metadata = {"huggingface": json.dumps({"info": {"features": older}})}
    write("a.parquet", columns, metadata=metadata)
    assert ParquetTables("a.parquet").classes == ("sky", "tree", "road")
    for said in ("no JSON", "[]", '{"info": {"features": {"annotation": {"dtype": "uint8"}}}}'):
        write("a.parquet", columns, metadata={"huggingface": said})
        assert ParquetTables("a.parquet").classes is None


@pytest.mark.parametrize("block", [1, 1000, 1 << 20])
def test_rows_are_found_in_any_order_over_files_groups_and_blocks(monkeypatch, block):
    monkeypatch.setattr(row_groups, "_BLOCK", block)
    columns = pairs(23)
    for number, part in enumerate((range(11), range(11, 11), range(11, 23))):
        rows = {name: [values[row] for row in part] for name, values in columns.items()}
        kinds = dict.fromkeys(columns, pa.binary())
        write(f"d/{number}.parquet", rows, types=kinds, row_group_size=5, compression="zstd")
    source = ParquetTables("d", cache_mib=0)
    assert source.keys[10:12] == ["0/000010", "2/000000"]
    for sample in np.random.default_rng(0).permutation(23).tolist():
        agree(source, sample, *pair(sample))
    for sample in range(23):
        agree(source, sample, *pair(sample))
    assert source.names(22)[0] == "d/2.parquet[row=11, image]"


def test_in_order_every_block_is_decoded_once(monkeypatch):
    monkeypatch.setattr(row_groups, "_BLOCK", 2000)
    write("a.parquet", pairs(40), row_group_size=20)
    taken = []
    take = row_groups._Reading._take

    def counted(reading, rows):
        taken.append((reading.key, rows))
        return take(reading, rows)

    monkeypatch.setattr(row_groups._Reading, "_take", counted)
    source = ParquetTables("a.parquet", cache_mib=0)
    for sample in range(40):
        source.read(sample)
    for column in ("image", "annotation"):
        assert sum(rows for key, rows in taken if key[1] == column) == 40
    assert len(taken) > 4
    taken.clear()
    source.read_mask(0)
    assert {key[1] for key, _ in taken} == {"annotation"}


def test_what_is_kept_in_memory_is_the_cache_and_a_block_of_each_column(monkeypatch):
    write("a.parquet", pairs(40), row_group_size=20)
    whole = ParquetTables("a.parquet", cache_mib=0).memory_nbytes
    assert whole > 0
    assert ParquetTables("a.parquet", cache_mib=3).memory_nbytes == whole + 3 * 2**20
    monkeypatch.setattr(row_groups, "_BLOCK", whole // 8)
    assert 0 < ParquetTables("a.parquet", cache_mib=0).memory_nbytes <= whole // 4


def test_threads_share_a_source(monkeypatch):
    monkeypatch.setattr(row_groups, "_BLOCK", 2000)
    write("a.parquet", pairs(40), row_group_size=20)
    source = ParquetTables("a.parquet", cache_mib=0)
    order = np.random.default_rng(0).permutation(40).tolist() * 3
    with ThreadPoolExecutor(8) as threads:
        for sample, (image, _) in zip(order, threads.map(source.read, order), strict=True):
            np.testing.assert_array_equal(image, pair(sample)[0])


@given(st.lists(st.integers(0, 6), min_size=1, max_size=6).filter(sum), st.integers(0, 40))
def test_a_row_is_placed_by_the_sizes_of_the_groups(tmp_path_factory, sizes, pick):
    from zarrfeed_convert.sources.records.parquet_files import Tables

    path = tmp_path_factory.mktemp("t") / "a.parquet"
    with pq.ParquetWriter(path, pa.schema([("n", pa.int64())])) as writer:
        numbers = iter(range(sum(sizes)))
        for size in sizes:
            writer.write_table(pa.table({"n": [next(numbers) for _ in range(size)]}, writer.schema))
    tables = Tables.find(str(path), what="images", columns={"n"}, limits=Limits())
    row = pick % len(tables)
    place = tables.place(row)
    group = pq.ParquetFile(path).read_row_group(place.group)
    assert group.column("n")[place.row].as_py() == row


def test_masks_may_be_in_tables_of_their_own():
    columns = pairs(5)
    write("i/a.parquet", {"x": columns["image"]}, row_group_size=2)
    write("m/a.parquet", {"y": columns["annotation"]})
    source = ParquetTables("i", "m", image="x", mask="y")
    for sample in range(5):
        agree(source, sample, *pair(sample))
    write("m/b.parquet", {"y": columns["annotation"]})
    with pytest.raises(SourceError, match=r"found 5 rows in i/a\.parquet … and 10 in m/a"):
        ParquetTables("i", "m", image="x", mask="y")
    Path("m/b.parquet").write_bytes(b"x")
    with pytest.raises(SourceError, match="images and masks cannot be matched without it"):
        ParquetTables("i", "m", image="x", mask="y")


def test_tables_of_masks_follow_those_of_images_by_name_not_by_order():
    columns = pairs(11)
    for number in range(11):  # 10 comes before 2, and 02 before 10
        write(f"i/{number}.parquet", {"x": columns["image"][number : number + 1]})
        write(f"m/m_{number:02}.parquet", {"y": columns["annotation"][number : number + 1]})
    source = ParquetTables("i", "m", image="x", mask="y")
    for sample in range(11):
        number = int(source.keys[sample].partition("/")[0])
        agree(source, sample, *pair(number))
    Path("m/m_02.parquet").rename("m/m_99.parquet")
    with pytest.raises(SourceError, match=r"1 image without mask: 2, 1 mask without image: m_99"):
        ParquetTables("i", "m", image="x", mask="y")


def test_rows_without_an_image_or_a_mask_are_left_out():
    columns = pairs(6)
    columns["annotation"][1] = None
    columns["image"][4] = None
    structs = {
        name: [None if row is None else {"bytes": row, "path": None} for row in rows]
        for name, rows in columns.items()
    }
    structs["annotation"][1] = {"bytes": None, "path": None}
    for rows, types in ((columns, None), (structs, dict.fromkeys(structs, HF_IMAGE))):
        write("a.parquet", rows, types=types, row_group_size=2)
        source = ParquetTables("a.parquet")
        assert source.keys == [f"a/{n:06}" for n in (0, 2, 3, 5)]
        assert source.left_out == [
            ("a.parquet[row=1, annotation]", "it holds no mask"),
            ("a.parquet[row=4, image]", "it holds no image"),
        ]
        for sample, row in enumerate((0, 2, 3, 5)):
            agree(source, sample, *pair(row))
    write("a.parquet", {**columns, "annotation": pa.nulls(6, pa.binary())})
    with pytest.raises(SourceError, match="holds no mask, and neither do the other 5 rows"):
        ParquetTables("a.parquet")
    write("a.parquet", columns, write_statistics=False)  # nothing says so in advance
    with pytest.raises(SourceError, match=r"row=1, annotation\]: needed an image, found nothing"):
        ParquetTables("a.parquet").probe(1)


def test_names_of_samples_must_differ_and_be_there():
    write("a.parquet", {**pairs(3), "id": [7, 5, 6]})
    assert ParquetTables("a.parquet", key="id").keys == ["7", "5", "6"]
    for names, said in ((["a", "b", "a"], "'a', which row 0 has, too"), ([1, None, 2], "none")):
        write("a.parquet", {**pairs(3), "id": names})
        with pytest.raises(SourceError, match=f"needed a name of its own, found {said}"):
            ParquetTables("a.parquet", key="id")


def test_a_column_that_is_not_there_is_told_with_those_that_are():
    write("a.parquet", {"img": [b""], "gt": [1]})
    with pytest.raises(SourceError) as error:
        ParquetTables("a.parquet")
    assert str(error.value) == (
        "a.parquet: needed the column 'image', found gt, img; name it with -o image=COLUMN"
    )
    with pytest.raises(SourceError, match=r"column gt: needed images as bytes, .* found int64"):
        ParquetTables("a.parquet", image="img", mask="gt")
    with pytest.raises(SourceError, match="-o shape=COLUMN"):
        ParquetTables("a.parquet", image="img", mask="img", shape="nowhere")
    with pytest.raises(SourceError, match="-o key=COLUMN"):
        ParquetTables("a.parquet", image="img", mask="img", key="nowhere")


@pytest.mark.parametrize(
    ("image", "options", "said"),
    [
        (b"no picture", {}, "cannot be decoded"),
        ([[1, 2], [3]], {}, "needed lists of one length, found 2, 1"),
        ([[1, 2], [3, None]], {}, "needed numbers, found 1 places without one"),
        ([[1, 2], None], {}, "needed lists of one length, found 2, None"),
        ([1, 2, 3], {}, "needed the shape of 3 numbers in a row"),
        ([1, 2, 3], {"shape": "6x8"}, "needed 6×8 numbers"),
        ([], {"shape": "6x8"}, "needed 6×8 numbers"),
        ([["a"]], {}, "needed an array of numbers"),
        ([[[[1]]]], {}, "needed an array"),
        (b"abc", {"dtype": "uint16", "shape": "1x1"}, "found 3 bytes; check -o dtype"),
    ],
)
def test_a_value_that_cannot_be_read_names_the_row(image, options, said):
    write("a.parquet", {"image": [image], "annotation": pairs(1)["annotation"]})
    source = ParquetTables("a.parquet", **options)
    with pytest.raises(SourceError, match=rf"^a\.parquet\[row=0, image\]: .*{said}"):
        source.read(0)
    np.testing.assert_array_equal(source.read_mask(0), pair()[1])


def test_damage_is_found_and_named():
    path = write(
        "d/a.parquet", pairs(8), write_page_checksum=True, compression="none", row_group_size=4
    )
    whole = bytearray(path.read_bytes())
    whole[whole.index(png(pair(5)[0])) + 70] ^= 1  # a pixel
    path.write_bytes(whole)
    source = ParquetTables("d")
    agree(source, 3, *pair(3))
    for read in (source.probe, source.read):
        with pytest.raises(SourceError, match=r"^d/a\.parquet\[row=5, image\]: cannot be read: "):
            read(5)
    agree(source, 0, *pair(0))
    Path("d/b.parquet").write_bytes(whole[:-20])
    [(name, why)] = ParquetTables("d").left_out
    assert name == "d/b.parquet"
    assert why.startswith("cannot be read: ")
    with pytest.raises(SourceError, match=r"^d/b\.parquet: cannot be read: "):
        ParquetTables("d/b.parquet")
    path.unlink()
    with pytest.raises(SourceError, match=r"^d/a\.parquet\[row=6, annotation\]: cannot be read: "):
        pickle.loads(pickle.dumps(source)).read_mask(6)


def test_nothing_to_read_is_told():
    Path("empty").mkdir()
    write("none.parquet", {"image": pa.array([], pa.binary())})
    for where, said in (
        ("empty", r"found no file in empty; looked for \.parquet"),
        ("nowhere.parquet", "no such file or folder"),
        ("none.parquet", "found no row in none"),
    ):
        with pytest.raises(SourceError, match=said):
            ParquetTables(where)


def test_the_source_travels_and_opens_again_by_its_description():
    write("a.parquet", pairs(2))
    source = ParquetTables(Path("a.parquet"), mask_map="2=1", color="grey", cache_mib=3)
    source.read(0)
    for again in (pickle.loads(pickle.dumps(source)), source_of(source.describe())):
        assert again.describe() == source.describe()
        assert again.keys == source.keys
        for one, other in zip(again.read(0), source.read(0), strict=True):
            np.testing.assert_array_equal(one, other)
    assert len(pickle.dumps(source)) < 10_000


def test_packed_rows_hold_the_pixels(tmp_path):
    write("d/a.parquet", pairs(5), row_group_size=2)
    source = ParquetTables("d")
    images, masks = zip(*map(pair, range(5)), strict=True)
    require_source(source, images, masks)
    require_packed(source, tmp_path / "o.zarr", images, masks, workers=2)
