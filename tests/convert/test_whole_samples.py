"""What a dry run accepts is packed: samples too large to decode as a whole are refused before."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import tifffile
from PIL import Image

from source_seeds import seeds
from zarrfeed.errors import SourceError
from zarrfeed_convert import Limits, PairedFolders, convert, open_source
from zarrfeed_convert.regridded import RegriddedSource

CLAIM = "--max-sample-size"


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seeds")
    return [(folder / str(number), seed) for number, seed in enumerate(seeds(folder))]


@pytest.mark.parametrize("nbytes", [150, 500, 1200, 3000])
def test_what_passes_measuring_is_decoded_within_the_same_limits(datasets, monkeypatch, nbytes):
    refused: set[str] = set()
    for folder, seed in datasets:
        monkeypatch.chdir(folder)
        try:
            source = open_source(seed.kind, seed.arguments, limits=Limits(sample_nbytes=nbytes))
            header = source.probe(0)
            source.require_whole(0, header)
        except SourceError as error:
            if CLAIM in str(error):
                refused.add(seed.kind)
            continue
        why = ""
        try:
            source.read(0)
        except SourceError as error:
            why = str(error)
        assert CLAIM not in why, (seed.kind, seed.arguments, folder)
    assert refused


def tiled_tiff(path):
    path.parent.mkdir(exist_ok=True)
    tifffile.imwrite(path, np.zeros((512, 512, 3), np.uint8), photometric="rgb", tile=(64, 64))


def npy(path):
    path.parent.mkdir(exist_ok=True)
    np.save(path.with_suffix(".npy"), np.zeros((512, 512, 3), np.uint8))


@pytest.mark.parametrize("write", [tiled_tiff, npy])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_large_image_among_small_ones_ends_a_dry_run_unless_it_is_a_case(
    tmp_path, write, workers
):
    write(tmp_path / "b.tif")
    [large] = tmp_path.iterdir()
    for number in range(3):
        tifffile.imwrite(tmp_path / f"{number}.tif", np.zeros((64, 64, 3), np.uint8))
    where = str(tmp_path / f"*{large.suffix}")
    source = PairedFolders(where, limits=Limits(sample_nbytes=256 << 10))
    arguments = {"split": "t", "dry_run": True, "workers": workers}
    said = rf"b\.\w+: needed an image .*786432 bytes; .*{CLAIM} 1GiB"
    with pytest.raises(SourceError, match=said):
        convert(source, tmp_path / "o", size=(8, 8), fit="resize", **arguments)
    report = convert(source, tmp_path / "o", tile=(64, 64), **arguments)
    assert report.cases == len(source.keys)


def sparse_nifti(path, shape):
    """Write a header that is followed by a hole of as many voxels as it claims."""
    path.parent.mkdir(exist_ok=True)
    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype("uint8")
    header["vox_offset"], header["magic"] = 352, b"n+1"
    header.set_sform(np.diag([-1, -1, 2, 1]), 1)
    with path.open("wb") as file:
        file.write(header.binaryblock + bytes(4))
        file.truncate(352 + int(np.prod(shape)))


def test_a_volume_that_fits_no_memory_is_refused_by_name_or_cut_into_tiles(tmp_path):
    for folder in ("i", "l"):
        sparse_nifti(tmp_path / folder / "a.nii", (1000, 1000, 5000))
    source = open_source("nifti", {"images": str(tmp_path / "i"), "masks": str(tmp_path / "l"),
                                   "as_": "volumes"})  # fmt: skip
    with pytest.raises(SourceError, match=r"i/a\.nii: needed a volume of at most .*4768 MiB; .*"
                       r"5GiB, or store it as tiles, .*: --tile 64x64x64"):  # fmt: skip
        convert(source, tmp_path / "o", split="t", size=(8, 8, 8), fit="resize", dry_run=True,
                workers=1)  # fmt: skip
    assert source.reads_windows(0)


def test_a_resampled_volume_that_is_decoded_as_a_whole_has_its_limit(tmp_path):
    sparse_nifti(tmp_path / "i/a.nii", (40, 40, 40))
    inner = open_source("nifti", {"images": str(tmp_path / "i"), "as_": "volumes"})
    limits = Limits(sample_nbytes=1 << 20)
    source = RegriddedSource(inner, spacing=(0.5, 0.4, 0.4), limits=limits)
    header = source.probe(0)
    assert header.size == (160, 100, 100)
    with pytest.raises(SourceError, match=r"a\.nii: needed a resampled volume of at most 1 MiB"):
        source.require_whole(0, header)
    RegriddedSource(inner, spacing=(0.5, 0.4, 0.4)).require_whole(0, header)
    small = open_source("nifti", {"images": str(tmp_path / "i"), "as_": "volumes"},
                        limits=Limits(sample_nbytes=32 << 10))  # fmt: skip
    turned = RegriddedSource(small, orient="RAS")
    with pytest.raises(SourceError, match=r"a\.nii: needed a volume of at most 32768 bytes"):
        turned.require_whole(0, turned.probe(0))


def test_a_mask_that_is_not_read_in_windows_is_named_where_the_image_must_be(tmp_path):
    tiled_tiff(tmp_path / "i/b.tif")
    (tmp_path / "m").mkdir()
    Image.new("L", (512, 512)).save(tmp_path / "m/b.png")
    limits = Limits(sample_nbytes=512 << 10)
    source = PairedFolders(tmp_path / "i", tmp_path / "m", limits=limits)
    for dry_run in (True, False):
        said = r"m/b\.png: needed a file that is read in windows, as .*i/b\.tif is, .*tiled TIFF, "
        with pytest.raises(SourceError, match=rf"{said}.*or allow more by {CLAIM} 1GiB"):
            convert(source, tmp_path / "o", split="t", tile=(64, 64), dry_run=dry_run, workers=1)
    (tmp_path / "m/b.png").unlink()
    tifffile.imwrite(tmp_path / "m/b.tif", np.zeros((512, 512), np.uint8), tile=(64, 64))
    source = PairedFolders(tmp_path / "i", tmp_path / "m", limits=limits)
    convert(source, tmp_path / "o", split="t", tile=(64, 64), workers=1)
    assert (tmp_path / "o/t/zarr.json").exists()
