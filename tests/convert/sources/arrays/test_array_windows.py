"""Arrays of any size are read window by window, and a file may hold one volume."""

from __future__ import annotations

import zipfile
from itertools import permutations
from pathlib import Path

import h5py
import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from source_contract import require_source, require_windows
from zarrfeed.errors import SourceError
from zarrfeed_convert import Limits, open_source

RNG = np.random.default_rng(7)
SMALL = Limits(sample_nbytes=1 << 20)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def fresh(path):
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).unlink(missing_ok=True)  # a source may have it open
    return path


def hdf5(stem, **how):
    def write(arrays):
        with h5py.File(fresh(f"{stem}.h5"), "w") as file:
            for name, values in arrays.items():
                file.create_dataset(name, data=values, **how)

    return write


def chunked(stem):
    def write(arrays):
        with h5py.File(fresh(f"{stem}.h5"), "w") as file:
            for name, values in arrays.items():
                chunks = tuple(min(4, size) for size in values.shape)
                file.create_dataset(name, data=values, chunks=chunks, compression="gzip")

    return write


def npz(stem):
    return lambda arrays: np.savez(fresh(f"{stem}.npz"), **arrays)


def compressed(stem):
    return lambda arrays: np.savez_compressed(fresh(f"{stem}.npz"), **arrays)


def fortran(stem):
    return lambda arrays: np.savez(
        fresh(f"{stem}.npz"), **{name: np.asfortranarray(each) for name, each in arrays.items()}
    )


def zarr_array(stem, version=3, chunk=3):
    def write(arrays):
        group = zarr.open_group(f"{stem}.zarr", mode="w", zarr_format=version)
        for name, values in arrays.items():
            chunks = tuple(min(chunk, size) for size in values.shape)
            group.create_array(name, data=values, chunks=chunks)

    return write


def sharded(stem):
    def write(arrays):
        group = zarr.open_group(f"{stem}.zarr", mode="w")
        for name, values in arrays.items():
            rank = values.ndim
            group.create_array(name, data=values, chunks=(2,) * rank, shards=(4,) * rank)

    return write


# How arrays are written: format, ending, whether parts of samples are read alone, writer.
WAYS = {
    "contiguous HDF5": ("hdf5", "h5:{}", True, hdf5),
    "chunked HDF5": ("hdf5", "h5:{}", True, chunked),
    "NPZ": ("npz", "npz:{}", True, npz),
    "NPZ in Fortran order": ("npz", "npz:{}", True, fortran),
    "compressed NPZ": ("npz", "npz:{}", False, compressed),
    "Zarr 2": ("zarr", "zarr/{}", True, lambda at: zarr_array(at, 2)),
    "Zarr 3": ("zarr", "zarr/{}", True, zarr_array),
    "shards": ("zarr", "zarr/{}", True, sharded),
}
LAYOUTS = ["HW", "HWC", "CHW", "NHW", "NHWC", "NCHW", "DHW", "CDHW", "DHWC", "NDHW", "NDHWC"]


@pytest.mark.parametrize("way", WAYS)
@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.sampled_from(LAYOUTS), st.sampled_from(["u1", ">i2", "<f4", ">f8"]), st.data())
def test_law_a_window_is_a_part_of_the_sample(way, layout, dtype, data):
    kind, place, _, write = WAYS[way]
    sizes = {letter: data.draw(st.integers(1, 6)) for letter in layout}
    image = RNG.integers(1, 200, tuple(sizes.values())).astype(dtype)
    space = [letter for letter in layout if letter != "C"]
    mask = RNG.integers(0, 3, tuple(sizes[letter] for letter in space), np.uint8)
    mask.flat[0] = 1  # Zarr does not write zeros, and what was never written is refused
    write("a")({"x": image, "y": mask})
    arguments = {"images": "a." + place.format("x"), "masks": "a." + place.format("y")}
    source = open_source(kind, {**arguments, "axes": layout})
    order = [letter for letter in "NDHWC" if letter in layout]
    expected = image.transpose([layout.index(letter) for letter in order])
    expected = expected.reshape(*expected.shape, *(() if "C" in layout else (1,)))
    expected = expected if "N" in layout else expected[np.newaxis]
    for sample in range(len(source.keys)):
        np.testing.assert_array_equal(source.read(sample)[0], expected[sample])
        require_windows(source, sample)


@pytest.mark.parametrize("way", WAYS)
def test_a_file_may_hold_one_volume_of_any_size(way):
    kind, place, in_windows, write = WAYS[way]
    sizes = {"b": (5, 9, 7), "a": (1, 6, 10), "c": (9, 3, 3)}
    images = {key: RNG.integers(-900, 900, size).astype(">i2") for key, size in sizes.items()}
    masks = {key: RNG.integers(0, 3, size, np.uint8) for key, size in sizes.items()}
    for key in sizes:
        write(f"scans/{key}")({"volume": images[key]})
        write(f"labels/{key}")({"seg": masks[key]})
    arguments = {"images": "scans/*." + place.format("volume"),
                 "masks": "labels/*." + place.format("seg"), "axes": "DHW"}  # fmt: skip
    source = open_source(kind, arguments)
    assert source.keys == ["a", "b", "c"]
    assert source.reads_windows(1) == in_windows
    samples = [images[key][..., np.newaxis] for key in "abc"], [masks[key] for key in "abc"]
    require_source(source, *samples)
    alone = open_source(kind, {"images": arguments["images"], "axes": "DHW"})
    require_source(alone, samples[0])
    inside = {key: {"volume": images[key], "seg": masks[key]} for key in sizes}
    for key, arrays in inside.items():
        write(f"both/{key}")(arrays)
    both = {"images": "both/*." + place.format("volume"),
            "masks": "both/*." + place.format("seg"), "axes": "DHW"}  # fmt: skip
    require_source(open_source(kind, both), *samples)


def test_large_arrays_are_read_by_windows_alone():
    size = (1500, 1200)
    image = RNG.integers(0, 255, size, np.uint8)
    for way, (kind, place, in_windows, write) in WAYS.items():
        if way in ("shards", "Zarr 2", "chunked HDF5"):
            continue  # many small chunks
        if kind == "zarr":
            zarr_array("a", chunk=200)({"x": image})
        else:
            write("a")({"x": image})
        arguments = {"images": "a." + place.format("x"), "axes": "HW"}
        if not in_windows:
            with pytest.raises(SourceError, match="a compressed array of at most 1 MiB"):
                open_source(kind, arguments, limits=SMALL)
            continue
        source = open_source(kind, arguments, limits=SMALL)
        with pytest.raises(SourceError, match="needed a sample without --tile of at most 1 MiB"):
            source.read(0)
        window = slice(1400, 1500), slice(3, 999)
        np.testing.assert_array_equal(source.read_window(0, window)[0][..., 0], image[window])


def test_arrays_that_are_one_chunk_are_read_as_a_whole():
    image = RNG.integers(0, 255, (8, 8), np.uint8)
    hdf5("a", chunks=(8, 8))({"x": image})
    zarr_array("a", chunk=8)({"x": image})
    for kind, place in (("hdf5", "a.h5:x"), ("zarr", "a.zarr/x")):
        source = open_source(kind, {"images": place, "axes": "HW"})
        assert not source.reads_windows(0)
        require_windows(source, 0)


def test_windows_of_hdf5_read_only_the_chunks_that_hold_some_of_them():
    image = RNG.integers(0, 255, (30, 20), np.uint8)
    hdf5("a", chunks=(10, 20), compression="gzip")({"x": image})
    with h5py.File("a.h5", "a") as file:
        file["x"].id.write_direct_chunk((10, 0), b"damaged")
    source = open_source("hdf5", {"images": "a.h5:x", "axes": "HW"})
    for window in ((slice(0, 10), slice(2, 9)), (slice(20, 30), slice(0, 20))):
        np.testing.assert_array_equal(source.read_window(0, window)[0][..., 0], image[window])
    with pytest.raises(SourceError, match=r"^a\.h5:/x: cannot be read"):
        source.read_window(0, (slice(0, 11), slice(0, 20)))


def test_files_that_end_before_their_arrays_are_refused_when_they_are_opened():
    hdf5("a")({"x": RNG.integers(0, 255, (100, 100), np.uint8)})
    data = Path("a.h5").read_bytes()
    with h5py.File("a.h5") as file:
        begin = file["x"].id.get_offset()
    Path("b.h5").write_bytes(data[: begin + 9000])
    with pytest.raises(SourceError, match=r"b\.h5.*"):
        open_source("hdf5", {"images": "b.h5:x", "axes": "HW"})
    np.save("a.npy", np.zeros((100, 100), np.uint8))
    Path("a.npy").write_bytes(Path("a.npy").read_bytes()[:-1])
    with pytest.raises(SourceError, match=r"a\.npy: needed 10128 bytes, found 10127"):
        open_source("npz", {"images": "a.npy", "axes": "HW"})


def test_a_member_that_was_replaced_is_not_read_by_its_old_place():
    np.savez("a.npz", x=np.zeros((9, 9, 9), np.uint8))
    source = open_source("npz", {"images": "a.npz:x", "axes": "DHW"})
    with zipfile.ZipFile("a.npz", "a") as archive:
        archive.writestr("more", b"0")
    with pytest.raises(SourceError, match="has changed since it was measured"):
        source.read_window(0, (slice(0, 1),) * 3)


def test_neighbouring_windows_decode_a_chunk_of_hdf5_once():
    """Windows thinner than chunks go through HDF5's cache, which holds a layer of them."""
    image = RNG.integers(0, 255, (64, 96, 96), np.uint8)
    hdf5("a", chunks=(32, 96, 48), compression="gzip")({"x": image})
    source = open_source("hdf5", {"images": "a.h5:x", "axes": "DHW"})
    for first in range(0, 64, 4):
        window = slice(first, first + 4), slice(0, 96), slice(0, 96)
        np.testing.assert_array_equal(source.read_window(0, window)[0][..., 0], image[window])
    [(stack, *_)] = [side.locate(0) for side in source._sides.values()]
    dataset = source._files._dataset(stack, "a", parts=True)
    assert dataset.id.get_access_plist().get_chunk_cache()[1] >= 2 * 32 * 96 * 48


@pytest.mark.parametrize("axes", ["".join(each) for each in permutations("DHW")])
def test_axes_come_in_any_order(axes):
    volume = RNG.integers(0, 255, (4, 5, 6), np.uint8)
    stored = volume.transpose(["DHW".index(letter) for letter in axes])
    zarr_array("a")({"x": stored})
    source = open_source("zarr", {"images": "a.zarr/x", "axes": axes})
    np.testing.assert_array_equal(source.read(0)[0][..., 0], volume)
    require_windows(source, 0)
