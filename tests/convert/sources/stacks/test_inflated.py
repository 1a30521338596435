"""Bytes in memory are those of the decompressed file, in whatever order they are asked for."""

from __future__ import annotations

import gzip
import importlib
import pickle
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zarrfeed.errors import SourceError
from zarrfeed_convert import Limits

nib = pytest.importorskip("nibabel")
gzip_files = pytest.importorskip("zarrfeed_convert.sources.stacks.gzip_files")
inflated = pytest.importorskip("zarrfeed_convert.sources.stacks.inflated")
volumes = pytest.importorskip("zarrfeed_convert.sources.stacks.nifti_file")
NiftiVolumes = pytest.importorskip("zarrfeed_convert.sources.stacks.nifti").NiftiVolumes


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)  # so that TMPDIR is looked at again


def content(nbytes, seed=0):
    return np.random.default_rng(seed).integers(0, 9, nbytes, np.uint8)


def packed(path, nbytes, seed=0):
    Path(path).write_bytes(gzip.compress(content(nbytes, seed).tobytes()))


def case(name, shape=(8, 7, 6), seed=0):
    for folder in "im":
        Path(folder).mkdir(exist_ok=True)
        values = content(int(np.prod(shape)), seed).reshape(shape)
        nib.save(nib.Nifti1Image(values, np.eye(4)), f"{folder}/{name}.nii.gz")
    return values.transpose(2, 1, 0)


@given(st.lists(st.integers(0, 3000), max_size=8), st.integers(1, 900))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_law_the_first_bytes_are_known_however_they_are_asked_for(ends, piece):
    packed("a.gz", 3000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inflated, "_PIECE", piece)
        file = inflated.InflatedFile("a.gz", 3000)
        for end in ends:
            np.testing.assert_array_equal(file.until(end)[:end], content(3000)[:end])
        np.testing.assert_array_equal(file.until(3000), content(3000))


def test_members_follow_each_other_and_what_is_behind_is_left_out():
    parts = [content(1000, seed) for seed in (1, 2)]
    Path("a.gz").write_bytes(b"".join(gzip.compress(part.tobytes()) for part in parts))
    np.testing.assert_array_equal(inflated.InflatedFile("a.gz", 1500).until(1500),
                                  np.concatenate(parts)[:1500])  # fmt: skip


@pytest.mark.parametrize("damage", ["truncated", "checksum", "short"])
def test_damage_is_an_error_each_time(damage):
    packed("a.gz", 5000)
    data = bytearray(Path("a.gz").read_bytes())
    if damage == "truncated":
        data = data[: len(data) // 2]
    elif damage == "checksum":
        data[-8] ^= 1
    Path("a.gz").write_bytes(data)
    file = inflated.InflatedFile("a.gz", 5000 + (damage == "short"))
    for _ in range(2):
        with pytest.raises((OSError, EOFError)):
            file.until(file.nbytes)


def test_no_more_is_kept_than_is_allowed():
    for name in "abc":
        packed(f"{name}.gz", 1000, seed=ord(name))
    files = inflated.InflatedFiles(2000)
    for name in "abcacbb":
        found = files.read(f"{name}.gz", 1000, 1000)
        np.testing.assert_array_equal(found, content(1000, ord(name)))
        assert sum(len(kept.result().until(0)) for kept in files._files._kept.values()) <= 2000


def test_a_volume_is_decompressed_only_as_far_as_it_is_read(monkeypatch):
    monkeypatch.setattr(inflated, "_PIECE", 64)
    values = case("a", shape=(8, 8, 64))
    source = NiftiVolumes("i", "m", as_="volumes")
    part = slice(0, 8), slice(0, 8), slice(0, 8)
    np.testing.assert_array_equal(source.read_window(0, part)[0][..., 0], values[part])
    [image, _] = source._files._inflated._files._kept.values()
    assert 352 + 8 * 64 <= image.result()._known < 352 + 9 * 64
    np.testing.assert_array_equal(source.read(0)[0][..., 0], values)
    assert not list(Path().glob("zarrfeed-*/*.nii"))


def test_masks_are_read_without_their_images():
    values = case("a", shape=(8, 8, 64))
    source = NiftiVolumes("i", "m", as_="volumes")
    Path("i/a.nii.gz").unlink()
    part = slice(3, 9), slice(0, 8), slice(2, 5)
    np.testing.assert_array_equal(source.read_mask_window(0, part), values[part])
    np.testing.assert_array_equal(source.read_mask(0), values)


def test_memory_is_that_of_the_largest_case():
    case("a")
    case("b", shape=(8, 9, 10))
    source = NiftiVolumes("i", "m", as_="volumes")
    assert source.memory_nbytes == 2 * (352 + 8 * 9 * 10)
    assert NiftiVolumes("i", "m").memory_nbytes == 0
    again = pickle.loads(pickle.dumps(source))
    assert again.memory_nbytes == source.memory_nbytes
    np.testing.assert_array_equal(again.read(1)[0], source.read(1)[0])


def test_cases_too_large_for_memory_are_decompressed_to_copies():
    values = case("a", shape=(16, 16, 16))
    limits = Limits(sample_nbytes=6000)  # less than image and labels
    source = NiftiVolumes("i", "m", as_="volumes", limits=limits)
    assert source.memory_nbytes == 0
    np.testing.assert_array_equal(source.read(0)[0][..., 0], values)
    assert len(list(Path().glob("zarrfeed-*/*.nii"))) == 2


def test_threads_read_volumes_of_several_cases():
    expected = {name: case(name, seed=ord(name)) for name in "abcd"}
    source = NiftiVolumes("i", "m", as_="volumes")
    wrong = []

    def read(start):
        for number in range(start, start + 12):
            sample = number % 4
            if not np.array_equal(source.read(sample)[1], expected["abcd"[sample]]):
                wrong.append(number)

    threads = [threading.Thread(target=read, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_damaged_volume_is_named():
    case("a")
    source = NiftiVolumes("i", "m", as_="volumes")
    whole = Path("i/a.nii.gz").read_bytes()
    Path("i/a.nii.gz").write_bytes(whole[:-30])
    with pytest.raises(SourceError, match=r"^i/a\.nii\.gz: cannot be read: "):
        source.read(0)


def test_python_decompresses_where_igzip_is_not_installed(monkeypatch):
    packed("a.gz", 3000)
    monkeypatch.setitem(sys.modules, "isal", None)
    try:
        module = importlib.reload(gzip_files)
        assert module._gzip is gzip
        with module.open_gzip("a.gz") as file:
            assert file.read() == content(3000).tobytes()
    finally:
        monkeypatch.undo()
        importlib.reload(gzip_files)


@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("end", ["nii", "nii.gz"])
def test_where_voxels_end_is_where_a_window_ends(byte_order, end):
    values = content(8 * 7 * 6).reshape(8, 7, 6).astype(f"{byte_order}i2")
    header = nib.Nifti1Header(endianness=byte_order)
    header.set_data_dtype(np.int16)
    nib.save(nib.Nifti1Image(values, np.eye(4), header), f"a.{end}")
    volume = volumes.measure_volume(f"a.{end}")
    encoding = volume.encoding
    assert encoding.end == 352 + 8 * 7 * 6 * 2
    assert encoding.end_of((slice(0, 8), slice(0, 7), slice(1, 3))) == 352 + 8 * 7 * 3 * 2
    assert encoding.end_of((slice(0, 8), slice(0, 7), 4)) == 352 + 8 * 7 * 5 * 2
    assert encoding.end_of((slice(0, 8), slice(0, 7), slice(None))) == encoding.end
