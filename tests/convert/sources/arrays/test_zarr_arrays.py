"""Zarr arrays of either version are packed as zarr-python and tensorstore read them."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tensorstore
import zarr

from source_contract import require_packed, require_source
from zarrfeed.errors import SourceError
from zarrfeed_convert.source import PAIR
from zarrfeed_convert.sources.arrays import zarr_reading
from zarrfeed_convert.sources.arrays.zarr_arrays import ZarrArrays

RNG = np.random.default_rng(7)
IMAGES = RNG.integers(0, 255, (7, 12, 10, 3), np.uint8)
MASKS = RNG.integers(0, 3, (7, 12, 10), np.uint8)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(path="a.zarr", version=3, image=None, **arrays):
    group = zarr.open_group(path, mode="a", zarr_format=version)
    for name, values in arrays.items():
        group.create_array(name, data=values, **(image or {}) if name == "images" else {})


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("chunks", [(1, 12, 10, 3), (3, 5, 10, 3), (7, 12, 10, 1)])
def test_arrays_of_both_versions_and_any_chunks(version, chunks):
    write(version=version, image={"chunks": chunks}, images=IMAGES, masks=MASKS)
    source = ZarrArrays("a.zarr/images", "a.zarr/masks")
    assert source.keys == [f"a/{row:04}" for row in range(7)]
    assert source.names(3) == ("a.zarr/images[3]", "a.zarr/masks[3]")
    assert source.describe()["facts"]["samples_per_chunk"][0] == chunks[0]
    require_source(source, IMAGES, MASKS)


def test_sharded_arrays_share_only_their_inner_chunks(tmp_path):
    layout = {"chunks": (2, 12, 10, 3), "shards": (4, 12, 10, 3)}
    write(image=layout, images=IMAGES, masks=MASKS)
    source = ZarrArrays(tmp_path / "a.zarr/images", Path("a.zarr/masks"))
    assert source.describe()["facts"]["samples_per_chunk"][0] == 2
    require_source(source, IMAGES, MASKS)


@pytest.mark.parametrize("driver", ["zarr", "zarr3"])
def test_what_tensorstore_wrote_is_packed(tmp_path, driver):
    for name, values in (("images", IMAGES), ("masks", MASKS)):
        store = tensorstore.open(
            {"driver": driver, "kvstore": {"driver": "file", "path": f"{tmp_path}/{name}"}},
            create=True,
            dtype=values.dtype.name,
            shape=values.shape,
            chunk_layout=tensorstore.ChunkLayout(chunk_shape=(2, *values.shape[1:])),
        ).result()
        store.write(values).result()
    source = ZarrArrays("images", "masks")
    assert source.keys[0] == "images/0000"
    require_source(source, IMAGES, MASKS)
    require_packed(source, tmp_path / "o", IMAGES, MASKS, workers=2)


def test_chunks_of_many_samples_are_decoded_once(monkeypatch):
    write(image={"chunks": (4, 12, 10, 3)}, images=IMAGES, masks=MASKS)
    source = ZarrArrays("a.zarr/images", "a.zarr/masks")
    source.read(0)
    shutil.rmtree("a.zarr/images/c/0")  # missing chunks would be zeros
    for row in (1, 2, 3, 0):
        np.testing.assert_array_equal(source._read(PAIR[0], row), IMAGES[row])
    assert source.memory_nbytes > 0
    source.read(2)[0][:] = 0
    np.testing.assert_array_equal(source.read(2)[0], IMAGES[2])  # what was given away is a copy
    monkeypatch.setattr(zarr_reading, "BLOCK_NBYTES", 100)
    np.testing.assert_array_equal(source.read(5)[0], IMAGES[5])


def test_single_images_and_volumes_by_a_glob():
    for number in range(3):
        write(f"d/s{number}.zarr", images=IMAGES[number], masks=MASKS[number], volume=MASKS[:2])
    one = ZarrArrays("d/*.zarr/images", "d/*.zarr/masks")
    assert one.keys == ["s0", "s1", "s2"]
    require_source(one, IMAGES[:3], MASKS[:3])
    slices = np.concatenate([MASKS[:2]] * 3)
    source = ZarrArrays("d/*.zarr/volume", "d/*.zarr/volume")
    assert source.keys[2] == "s1/0000"
    require_source(source, slices[..., None], slices)


def test_several_arrays_of_one_store_are_named_apart():
    for name in ("p", "q"):
        write(f"a.zarr/{name}", images=IMAGES[0], masks=MASKS[0])
    source = ZarrArrays("a.zarr/*/images", "a.zarr/*/masks")
    assert source.keys == ["p/images", "q/images"]
    require_source(source, IMAGES[[0, 0]], MASKS[[0, 0]])


def test_zip_files_are_read(tmp_path):
    write(images=IMAGES, masks=MASKS)
    with zipfile.ZipFile("a.zarr.zip", "w") as archive:
        for path in sorted(Path("a.zarr").rglob("*")):
            archive.write(path, path.relative_to("a.zarr"))
    source = ZarrArrays("a.zarr.zip/images", "a.zarr.zip/masks")
    assert source.keys[0] == "a/0000"
    require_source(source, IMAGES, MASKS)
    with pytest.raises(SourceError, match=r"^a\.zarr\.zip/x: no such array; there are images"):
        ZarrArrays("a.zarr.zip/x", "a.zarr/masks")


def test_urls_go_through_fsspec(tmp_path):
    write(images=IMAGES, masks=MASKS)
    url = f"file://{tmp_path}/a.zarr"
    source = ZarrArrays(f"{url}/images", f"{url}/masks")
    assert source.names(0)[0] == f"{url}/images[0]"
    require_source(source, IMAGES, MASKS)
    with pytest.raises(SourceError, match=r"a\.zarr/x: no such array; there are images"):
        ZarrArrays(f"{url}/x", "a.zarr/masks")


def test_an_array_of_texts_names_the_samples():
    names = np.array([f"cell {letter}" for letter in "abcdefg"], "U8")
    write(version=2, images=IMAGES, masks=MASKS, names=names)
    source = ZarrArrays("a.zarr/images", "a.zarr/masks", keys="names")
    assert source.keys == names.tolist()
    require_source(source, IMAGES, MASKS)


def test_options_are_those_of_all_arrays():
    hot = np.moveaxis(np.eye(3, dtype=bool)[MASKS], 3, 1)
    write(images=np.moveaxis(IMAGES, 3, 1).astype(np.int16), masks=hot)
    source = ZarrArrays(
        "a.zarr/images", "a.zarr/masks", channels_first=True, one_hot=True, mask_map="2=1"
    )
    require_source(source, IMAGES.astype(np.int16), np.minimum(MASKS, 1))


def test_a_missing_array_is_named_among_those_that_there_are():
    write(images=IMAGES, masks=MASKS)
    with pytest.raises(SourceError) as error:
        ZarrArrays("a.zarr/imgs", "a.zarr/masks")
    assert str(error.value) == (
        "a.zarr/imgs: no such array; there are images (7, 12, 10, 3) uint8, masks (7, 12, 10) uint8"
    )
    with pytest.raises(SourceError, match=r"^a\.zarr: needed the name of one array, found 2: .*"):
        ZarrArrays("a.zarr", "a.zarr/masks")
    with pytest.raises(SourceError, match=r"^a\.zarr/images/0: no such array; a.zarr/images is on"):
        ZarrArrays("a.zarr/images/0", "a.zarr/masks")
    with pytest.raises(SourceError, match=r"^b\.zarr: needed a Zarr array, found none there"):
        ZarrArrays("b.zarr", "a.zarr/masks")
    with pytest.raises(SourceError, match=r"^images: nothing is at \*\.zr"):
        ZarrArrays("*.zr", "a.zarr/masks")
    zarr.open_group("one.zarr", mode="w").create_array("x", data=MASKS)
    assert ZarrArrays("a.zarr/images", "one.zarr").names(0)[1] == "one.zarr/x[0]"


def test_damaged_chunks_name_the_sample_and_damaged_arrays_are_left_out():
    write(image={"chunks": (1, 12, 10, 3)}, images=IMAGES, masks=MASKS)
    source = ZarrArrays("a.zarr/images", "a.zarr/masks")
    Path("a.zarr/images/c/2/0/0/0").write_bytes(b"no zstd")
    source.read(1)
    source.read_mask(2)
    with pytest.raises(SourceError, match=r"^a\.zarr/images\[2\]: cannot be read: "):
        source.read(2)
    for name in ("s", "t"):
        write(f"{name}.zarr", images=IMAGES[0], masks=MASKS[0])
    Path("t.zarr/masks/zarr.json").write_text("{")
    source = ZarrArrays("[st].zarr/images", "[st].zarr/masks")
    assert source.keys == ["s"]
    assert [name for name, _ in source.left_out] == ["t.zarr/masks"]


def test_an_array_that_vanishes_or_changes_names_the_sample():
    write(images=IMAGES, masks=MASKS)
    source = ZarrArrays("a.zarr/images", "a.zarr/masks")
    again = ZarrArrays("a.zarr/images", "a.zarr/masks")
    shutil.rmtree("a.zarr")
    again._files._reading.__init__()
    with pytest.raises(SourceError, match=r"^a\.zarr/masks\[0\]: cannot be read: there is no lon"):
        again.read_mask(0)
    write(images=IMAGES[:, 1:], masks=MASKS)
    source._files._reading.__init__()
    with pytest.raises(SourceError, match=r"^a\.zarr/images\[0\]: the array has changed"):
        source.read(0)


@pytest.mark.parametrize("path", ["a.zarr", "a.zarr.zip"])
@pytest.mark.parametrize("version", [2, 3])
def test_arrays_of_which_no_chunk_is_there_are_refused(path, version):
    write(version=version, images=IMAGES, masks=MASKS, none=np.zeros_like(MASKS))
    if path.endswith(".zip"):
        with zipfile.ZipFile(path, "w") as file:
            for part in sorted(Path("a.zarr").rglob("*")):
                file.write(part, part.relative_to("a.zarr"))
    with pytest.raises(SourceError, match="needed masks, found an array of which nothing was ever"):
        ZarrArrays(f"{path}/images", f"{path}/none")
    with pytest.raises(SourceError, match=r"\[0\]: needed values, found none"):
        ZarrArrays(f"{path}/none", f"{path}/masks").read(0)


def test_a_mask_of_background_among_others_has_no_chunk():
    for name, masks in (("a", MASKS[0]), ("b", np.zeros_like(MASKS[0]))):
        write(f"{name}.zarr", images=IMAGES[0], masks=masks)
    source = ZarrArrays("*.zarr/images", "*.zarr/masks")
    assert not source.read(1)[1].any()
