"""Tars hold the samples that the webdataset package finds in them."""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
import warnings

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from zarrfeed.errors import SourceError
from zarrfeed_convert import convert
from zarrfeed_convert.formats import open_source, source_of
from zarrfeed_convert.sources.records.tars import divide, expand_braces
from zarrfeed_convert.sources.records.webdataset import WebDatasetTars

SIZE = (6, 9)


def encoded(values, kind):
    file = io.BytesIO()
    if kind == "npy":
        np.save(file, values)
    else:
        Image.fromarray(values).save(file, kind)
    return file.getvalue()


def photo(seed, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, 200, (*SIZE, 3)).astype(dtype)


def ids(seed):
    return np.random.default_rng(seed).integers(0, 3, SIZE).astype(np.uint8)


def write_tar(path, members, kind=tarfile.PAX_FORMAT):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=kind) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def sample(key, seed=0):
    return [
        (f"{key}.jpg", encoded(photo(seed), "jpeg")),
        (f"{key}.json", b"{}"),
        (f"{key}.seg.png", encoded(ids(seed), "png")),
    ]


def found_by_webdataset(paths):
    webdataset = pytest.importorskip("webdataset")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = webdataset.WebDataset([str(path) for path in paths], shardshuffle=False)
        return {entry["__key__"]: entry for entry in dataset}


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_samples_are_those_that_webdataset_finds(tmp_path, kind):
    for shard in range(2):
        members = [(f"README{shard}", b"none"), ("__meta__/x.jpg", b"none")]
        for number in range(3):
            seed = 3 * shard + number
            key = f"{'deep/' * 25}{seed:04}" if kind != tarfile.USTAR_FORMAT else f"d.x/{seed:04}"
            members += sample(key, seed)
        write_tar(tmp_path / f"shard-{shard:03}.tar", members, kind)
    source = WebDatasetTars(tmp_path / "shard-{000..001}.tar")
    entries = found_by_webdataset(sorted(tmp_path.glob("*.tar")))
    assert len(source.keys) == 6
    for place, key in enumerate(source.keys):
        image, mask = source.read(place)
        entry = entries[key]
        np.testing.assert_array_equal(image, np.array(Image.open(io.BytesIO(entry["jpg"]))))
        np.testing.assert_array_equal(mask, ids(place))
        np.testing.assert_array_equal(source.read_mask(place), mask)
        header = source.probe(place)
        assert header.image.shape == image.shape
        assert header.mask.shape == mask.shape
    assert source.names(4) == (
        f"{tmp_path}/shard-001.tar/{source.keys[4]}.jpg",
        f"{tmp_path}/shard-001.tar/{source.keys[4]}.seg.png",
    )
    assert source.describe()["facts"] == {"tars": 2, "fields": {"jpg": 6, "json": 6, "seg.png": 6}}
    assert source.left_out == []


def test_keys_that_tars_share_get_the_tars_name(tmp_path):
    for folder in "ab":
        write_tar(tmp_path / folder / "0.tar", sample("x"))
    source = WebDatasetTars(tmp_path)
    assert source.keys == ["a/0/x", "b/0/x"]


def test_samples_that_lack_something_are_left_out(tmp_path):
    one, other, third = (sample(key) for key in "abc")
    path = write_tar(tmp_path / "0.tar", [*one, *other[:2], *third[1:]])
    source = WebDatasetTars(path)
    assert source.keys == ["a"]
    assert source.left_out == [
        (f"{path}/b", "it has no mask; its files are jpg, json"),
        (f"{path}/c", "it has no image; its files are json, seg.png"),
    ]
    with pytest.raises(SourceError, match=r"found files json \(3\), jpg \(2\), seg.png \(2\); say"):
        WebDatasetTars(path, mask="labels.png")


def test_which_files_are_image_and_mask_may_be_said(tmp_path):
    members = [(f"a.{field}.PNG", encoded(ids(n), "png")) for n, field in enumerate("xyz")]
    path = write_tar(tmp_path / "0.tar", members)
    source = WebDatasetTars(path, image="rgb.png; y.png", mask=".Z.png,x.png")
    assert source.names(0) == (f"{path}/a.y.PNG", f"{path}/a.z.PNG")
    np.testing.assert_array_equal(source.read_mask(0), ids(2))
    # What is the image is not the mask.
    assert WebDatasetTars(path, image="x.png", mask="x.png;y.png").names(0)[1].endswith("y.PNG")
    with pytest.raises(SourceError, match="option mask: needed what follows the first dot"):
        WebDatasetTars(path, mask=" ; ")


@pytest.mark.parametrize(
    ("image", "mask", "dtype"),
    [
        (photo(1), ids(1), "uint8"),
        (photo(1, ">u2"), ids(1)[:, :, None], "uint16"),
        (photo(1)[:, :, 0].astype(np.int16) - 90, ids(1).astype(np.int64), "int16"),
        (np.asfortranarray(photo(1, np.float64)), ids(1) == 1, "float64"),
    ],
)
def test_arrays_are_read_as_they_are(tmp_path, image, mask, dtype):
    members = [("a.npy", encoded(image, "npy")), ("a.mask.npy", encoded(mask, "npy"))]
    source = WebDatasetTars(write_tar(tmp_path / "0.tar", members))
    header = source.probe(0)
    values, found = source.read(0)
    np.testing.assert_array_equal(values, image.reshape(*SIZE, -1))
    np.testing.assert_array_equal(found, mask.reshape(SIZE))
    assert (str(values.dtype), header.dtype) == (dtype, dtype)
    assert values.dtype.isnative
    assert values.flags.c_contiguous
    assert found.dtype in (np.uint8, np.uint16)
    assert header.image.shape == values.shape


@pytest.mark.parametrize("field", ["jpg", "png", "npy", "tif"])
def test_large_files_are_measured_by_their_beginning(tmp_path, field):
    large = np.random.default_rng(0).integers(0, 256, (300, 200, 3), np.uint8)
    kind = {"jpg": "jpeg", "tif": "tiff"}.get(field, field)
    data = encoded(large, kind)
    if field == "jpg":  # its header is longer than what is looked at first
        comment = b"\xff\xfe\xff\xff" + bytes(0xFFFD)
        data = data[:2] + comment + data[2:]
    assert len(data) > 1 << 16
    members = [(f"a.{field}", data), ("a.seg.png", encoded(large[:, :, 0] % 3, "png"))]
    source = WebDatasetTars(write_tar(tmp_path / "0.tar", members))
    header = source.probe(0)
    assert header.image.shape == source.read(0)[0].shape


@pytest.mark.parametrize(
    ("image", "mask", "which", "said"),
    [
        (b"\xff\xd8\xff no jpeg", encoded(ids(0), "png"), 0, "cannot be decoded"),
        (encoded(photo(0), "png")[:60], encoded(ids(0), "png"), 0, "cannot be decoded"),
        (encoded(photo(0), "png"), b"", 1, "it is empty"),
        (encoded(photo(0), "npy")[:-1], encoded(ids(0), "png"), 0, "the file ends early"),
        (encoded(photo(0)[None], "npy"), encoded(ids(0), "png"), 0, r"needed an array \(H, W\)"),
        (encoded(np.array([{}]), "npy"), encoded(ids(0), "png"), 0, "needed an array"),
        (encoded(photo(0), "png"), encoded(photo(0), "npy"), 1, "a colour-coded mask"),
        (encoded(photo(0), "png"), encoded(ids(0) + 0.5, "npy"), 1, "needed a mask of class ids"),
        (encoded(photo(0), "png"), encoded(photo(0), "png"), 1, "colour"),
    ],
    ids=["jpeg", "cut png", "empty", "cut npy", "channels", "pickle", "rgb", "floats", "colours"],
)
def test_what_cannot_be_read_is_named(tmp_path, image, mask, which, said):
    path = write_tar(tmp_path / "0.tar", [("a.img.png", image), ("a.seg.png", mask)])
    source = WebDatasetTars(path, image="img.png")
    with pytest.raises(SourceError, match=said) as error:
        source.read(0)
    assert str(error.value).startswith(f"{source.names(0)[which]}: ")
    if which == 1:
        with pytest.raises(SourceError):
            source.read_mask(0)


def test_a_tar_that_shrank_or_went_since_is_named(tmp_path):
    path = write_tar(tmp_path / "0.tar", sample("a"))
    source = WebDatasetTars(path)
    path.write_bytes(path.read_bytes()[:600])
    for read in (source.probe, source.read):
        with pytest.raises(SourceError, match=r"^[^:]*0\.tar/a\.jpg: cannot be read: its tar ends"):
            read(0)
    path.unlink()
    with pytest.raises(SourceError, match=r"^[^:]*0\.tar/a\.seg\.png: cannot be read"):
        source.read_mask(0)


def test_compressed_tars_are_refused_with_the_way_out(tmp_path):
    path = write_tar(tmp_path / "0.tar", sample("a"))
    packed = tmp_path / "0.tar.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(SourceError, match=rf"^{packed}: needed a tar .* gunzip {packed}$"):
        WebDatasetTars(packed)


def test_damaged_tars_are_refused(tmp_path):
    members = [*sample("a"), *sample("b")]
    path = write_tar(tmp_path / "0.tar", members)
    whole = path.read_bytes()
    second = whole.index(b"a.json")
    path.write_bytes(whole[: second + 20] + b"\xff" * 99 + whole[second + 119 :])
    with pytest.raises(
        SourceError, match=rf"^{path}: needed the tar to end at byte {second}, found"
    ):
        WebDatasetTars(path)
    path.write_bytes(whole + whole)
    with pytest.raises(SourceError, match="several tars were joined"):
        WebDatasetTars(path)
    path.write_bytes(whole[: whole.index(b"b.seg.png") + 530])
    with pytest.raises(SourceError, match="is damaged or cut off"):
        WebDatasetTars(path)
    path.write_bytes(b"no tar at all" * 100)
    with pytest.raises(SourceError, match=rf"^{path}: cannot be read"):
        WebDatasetTars(path)
    write_tar(path, [*members, members[0]])
    with pytest.raises(SourceError, match=rf"^{path}: needed every file once, found a\.jpg twice"):
        WebDatasetTars(path)
    with pytest.raises(SourceError, match=r"no such file or folder: .*1\.tar"):
        WebDatasetTars(tmp_path / "{0..1}.tar")
    with pytest.raises(SourceError, match="leave --masks out"):
        WebDatasetTars(path, "masks")


def test_it_travels_and_opens_again(tmp_path):
    members = [line for number in range(3) for line in sample(f"{number}", number)]
    write_tar(tmp_path / "0.tar", members)
    source = WebDatasetTars(tmp_path / "*.tar", color="grey", mask_map="2=1")
    for again in (source_of(source.describe()), pickle.loads(pickle.dumps(source))):
        assert again.describe() == source.describe()
        assert list(again.keys) == list(source.keys)
        for place in range(3):
            assert again.probe(place) == source.probe(place)
            np.testing.assert_array_equal(again.read(place)[0], source.read(place)[0])
            np.testing.assert_array_equal(again.read_mask(place), np.minimum(ids(place), 1))


def test_it_packs(tmp_path):
    members = [line for number in range(3) for line in sample(f"{number}", number)]
    path = write_tar(tmp_path / "0.tar", members)
    source = open_source("webdataset", {"images": str(path)})
    convert(source, tmp_path / "o", split="train", order="source", workers=1)
    split = zarr.open_group(str(tmp_path / "o/train"), mode="r")
    np.testing.assert_array_equal(split["mask"][:], [ids(number) for number in range(3)])
    np.testing.assert_array_equal(split["image"][1], source.read(1)[0])


@given(st.text("ab./_", max_size=12))
def test_names_divide_as_webdataset_divides_them(name):
    iterators = pytest.importorskip("webdataset.tariterators")
    key, field = iterators.base_plus_ext(name)
    if "__" not in name:
        assert divide(name) == (None if key is None else (key, field))


number = st.integers(0, 30).flatmap(lambda n: st.sampled_from([f"{n}", f"{n:02}", f"{n:03}"]))
ranges = st.tuples(number, number).map(lambda ends: "{{{}..{}}}".format(*ends))
lists = st.lists(st.text("xy", max_size=2), min_size=2, max_size=3).map(
    lambda parts: "{{{}}}".format(",".join(parts))
)


@given(st.lists(st.one_of(st.text("ab-/", max_size=3), ranges, lists), max_size=3))
def test_braces_are_written_out_as_shells_do(parts):
    braceexpand = pytest.importorskip("braceexpand")
    text = "".join(parts)
    assert expand_braces(text) == list(braceexpand.braceexpand(text))
