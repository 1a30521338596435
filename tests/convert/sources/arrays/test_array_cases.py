"""Arrays of any size are packed as cases, and opened as the arrays that they were."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import zarr

import zarrfeed
from stored_samples import require_verified
from zarrfeed_convert import Limits, convert, open_source

RNG = np.random.default_rng(11)
SIZES = {"a": (9, 20, 33), "b": (1, 12, 7), "c": (16, 8, 8)}
VOLUMES = {key: RNG.integers(-900, 900, size).astype(">i2") for key, size in SIZES.items()}
LABELS = {key: RNG.integers(0, 3, size, np.uint8) for key, size in SIZES.items()}
SCALE, SHIFT = (2000.0, 500.0, 250.0), (-1000.0, 0.0, 30_000.0)  # micrometres, z y x


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write_npy():
    for folder, arrays in (("i", VOLUMES), ("m", LABELS)):
        Path(folder).mkdir()
        for key, values in arrays.items():
            np.save(f"{folder}/{key}.npy", values)
    return "paired", {"images": "i", "masks": "m", "axes": "DHW"}


def write_npz(save=np.savez):
    Path("i").mkdir()
    for key, values in VOLUMES.items():
        save(f"i/{key}.npz", x=values, y=LABELS[key])
    return "npz", {"images": "i/*.npz:x", "masks": "i/*.npz:y", "axes": "DHW"}


def write_hdf5():
    Path("i").mkdir()
    for key, values in VOLUMES.items():
        with h5py.File(f"i/{key}.h5", "w") as file:
            chunks = tuple(min(size, 5) for size in values.shape)
            file.create_dataset("scan/x", data=values, chunks=chunks, compression="gzip")
            file["scan/y"] = LABELS[key]
    return "hdf5", {"images": "i/*.h5:scan/x", "masks": "i/*.h5:scan/y", "axes": "DHW"}


def write_zarr():
    for key, values in VOLUMES.items():
        group = zarr.open_group(f"i/{key}.zarr", mode="w")
        group.create_array("x", data=values, chunks=(4, 4, 4), shards=(8, 8, 16))
        group.create_array("y", data=LABELS[key], chunks=(3, 8, 9))
    return "zarr", {"images": "i/*.zarr/x", "masks": "i/*.zarr/y", "axes": "DHW"}


def multiscale(group, values):
    group.create_array("0", data=values, chunks=(4, 8, 8))
    group.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [
            {
                "axes": [{"name": a, "type": "space", "unit": "micrometer"} for a in "zyx"],
                "datasets": [
                    {
                        "path": "0",
                        "coordinateTransformations": [
                            {"type": "scale", "scale": SCALE},
                            {"type": "translation", "translation": SHIFT},
                        ],
                    }
                ],
            }
        ],
    }


def write_ome_zarr():
    for key, values in VOLUMES.items():
        group = zarr.open_group(f"i/{key}.zarr", mode="w")
        multiscale(group, values.astype(np.int16))
        multiscale(group.create_group("labels/l"), LABELS[key])
        group["labels"].attrs["ome"] = {"version": "0.5", "labels": ["l"]}
    return "ome-zarr", {"images": "i/*.zarr", "as_": "volumes"}


WRITERS = {
    "npy": write_npy,
    "npz": write_npz,
    "compressed npz": lambda: write_npz(np.savez_compressed),
    "hdf5": write_hdf5,
    "zarr": write_zarr,
    "ome-zarr": write_ome_zarr,
}


@pytest.mark.parametrize("way", WRITERS)
@pytest.mark.parametrize("tile", [(4, 8, 8), (7, 5, 40)])
def test_volumes_of_any_size_are_opened_as_they_were(way, tile):
    kind, arguments = WRITERS[way]()
    source = open_source(kind, arguments)
    convert(source, "o.zarr", split="t", tile=tile, workers=1, classes=3)
    for key, values in VOLUMES.items():
        case = zarrfeed.open_case("o.zarr/t", key)
        assert case.dtype == np.int16
        np.testing.assert_array_equal(case[:][..., 0], values)
        np.testing.assert_array_equal(zarrfeed.open_case("o.zarr/t", key, "mask")[:], LABELS[key])
        box = tuple(slice(size // 3, size) for size in values.shape)
        np.testing.assert_array_equal(case[box][..., 0], values[box])
        if way == "ome-zarr":
            np.testing.assert_allclose(case.spacing, np.array(SCALE) / 1000)
            np.testing.assert_allclose(case.affine[:3, 3], np.array(SHIFT)[::-1] / 1000)
        else:
            assert case.affine is None
    require_verified("o.zarr/t", source=True)


def test_arrays_larger_than_a_sample_may_be_are_packed_by_their_windows():
    image = RNG.integers(0, 255, (1300, 1100), np.uint8)
    mask = (image > 99).astype(np.uint8)
    np.savez("a.npz", x=image, y=mask)
    with h5py.File("a.h5", "w") as file:
        file.create_dataset("x", data=image, chunks=(100, 300), compression="gzip")
        file["y"] = mask
    group = zarr.open_group("a.zarr", mode="w")
    group.create_array("x", data=image, chunks=(256, 256))
    group.create_array("y", data=mask, chunks=(300, 1100))
    small = Limits(sample_nbytes=1 << 20)
    for kind, place in (("npz", "a.npz:{}"), ("hdf5", "a.h5:{}"), ("zarr", "a.zarr/{}")):
        arguments = {"images": place.format("x"), "masks": place.format("y"), "axes": "HW"}
        source = open_source(kind, arguments, limits=small)
        convert(source, f"{kind}.zarr", split="t", tile=(256, 256), workers=1, classes=2)
        [(key, case)] = zarrfeed.open_cases(f"{kind}.zarr/t").items()
        np.testing.assert_array_equal(case[:][..., 0], image)
        np.testing.assert_array_equal(zarrfeed.open_case(f"{kind}.zarr/t", key, "mask")[:], mask)
        require_verified(f"{kind}.zarr/t", source=source)
