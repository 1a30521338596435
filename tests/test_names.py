"""Samples and cases keep the names of their files, also of those that are not UTF-8."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from zarrfeed import StoreError, WorkerError, ZarrSequence, open_cases, open_split
from zarrfeed.store.descriptive_arrays import sample_names
from zarrfeed.store.names import decode_names, encode_names
from zarrfeed_convert import PairedFolders, convert, verify

NAMES = [os.fsdecode(name) for name in (b"a\xff", b"a\xfe", "ä".encode())]


@pytest.fixture
def images(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for number, name in enumerate(NAMES):
            pixels = np.full((40, 40), number, np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / f"{name}.png")
    return PairedFolders(tmp_path / "images", tmp_path / "masks")


def pack(images, **options):
    convert(images, "o", split="s", workers=1, classes=3, **options)
    assert not verify("o/s", source=True, workers=1).problems
    return open_split("o/s")


def test_samples_of_files_that_are_not_utf_8_have_their_names(images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    split = pack(images)
    names = sample_names(split, range(3))
    assert sorted(names) == sorted(NAMES)

    def fails(image, mask, rng):
        if (image != NAMES.index("ä")).any():
            raise RuntimeError("no")
        return image, mask

    with (
        pytest.raises(WorkerError, match=r"raised RuntimeError.* on a\\udcf") as raised,
        ZarrSequence("o/s", 3, workers=1, transform=fails) as batches,
    ):
        batches[0]
    assert all(line.isprintable() for line in str(raised.value).splitlines())


def test_cases_of_files_that_are_not_utf_8_are_opened_by_their_names(images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    split = pack(images, tile=(32, 32))
    cases = open_cases(split)
    assert sorted(cases) == sorted(NAMES)
    for number, name in enumerate(NAMES):
        assert (cases[name][:] == number).all()
    assert {name.split("#")[0] for name in sample_names(split, range(12))} == {*NAMES}
    with pytest.raises(StoreError, match=r"a\\udcff"):
        cases["a"]


@given(st.lists(st.binary(min_size=1).filter(lambda name: b"\0" not in name), min_size=1))
def test_names_of_any_bytes_are_stored_and_read(names):
    texts = [name.decode(errors="surrogateescape") for name in names]
    stored = encode_names(texts)
    assert stored.dtype == np.uint8
    assert stored.shape == (len(names), max(map(len, names)))
    assert decode_names(stored) == texts
