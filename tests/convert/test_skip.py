"""With ``on_error="skip"``, what cannot be packed is left out, recorded, and counted."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from folders import contents
from zarrfeed import open_split
from zarrfeed.errors import SourceError
from zarrfeed_convert import Header, PairedFolders, Source, convert
from zarrfeed_convert.shards.rows import Rows, without

RESTORE = "the file is missing or damaged: restore it, or take it out"
SMALL = {"chunk_samples": 1, "shard_size": 1440}


@dataclasses.dataclass
class Arrays(Source):
    """Samples, some of which are bad: in which step, is said."""

    count: int
    bad: dict[int, str]

    @property
    def keys(self):
        return [f"sample{number:03}" for number in range(self.count)]

    def describe(self):
        return {"kind": "arrays"}

    def names(self, sample):
        return f"i{sample}", f"m{sample}"

    def probe(self, sample):
        if self.bad.get(sample) == "probe":
            raise SourceError(f"i{sample}: is no image")
        other = 1 if self.bad.get(sample) == "size" else 0
        return Header.of_pair((12, 10, 3), "uint8", (12 + other, 10))

    def read(self, sample):
        if self.bad.get(sample) == "read":
            raise OSError(5, "Input/output error")
        height = 11 if self.bad.get(sample) == "promise" else 12
        image = np.random.default_rng(sample).integers(0, 255, (height, 10, 3), np.uint8)
        return image, self.read_mask(sample)[:height]

    def read_mask(self, sample):
        mask = np.random.default_rng(sample).integers(0, 3, (12, 10), np.uint8)
        if self.bad.get(sample) == "value":
            mask[0, 0] = 77
        return mask


def pack(source, out, **options):
    options = {"split": "train", "workers": 1, "classes": 3, "on_error": "skip"} | options
    return convert(source, out, **SMALL, **options)


BAD = {3: "probe", 5: "size", 8: "read", 11: "value", 30: "promise", 39: "read"}


@pytest.mark.parametrize(
    ("workers", "order"),
    [(1, "source"), (3, "shuffled"), pytest.param(3, "source", marks=pytest.mark.soak)],
)
def test_counts_add_up_and_every_other_sample_is_there(tmp_path, order, workers):
    source = Arrays(40, BAD)
    report = pack(source, tmp_path / "o", order=order, workers=workers)
    assert (report.found, report.packed, len(report.skipped)) == (40, 34, 6)
    assert dict(report.skipped) == {
        "i3": "i3: is no image",
        "i5": "image and mask differ in size: i5 is 12x10, m5 is 13x10",
        "i8": f"i8: cannot be read: [Errno 5] Input/output error; {RESTORE}",
        "m11": "m11: needed class ids 0 … 2, found the value 77; use --ignore 77 if it marks "
        "unlabelled pixels, or --mask-map 77=ID",
        "i30": "i30: needed 12x10, as its header says, found 11x10; restore it, or take it out",
        "i39": f"i39: cannot be read: [Errno 5] Input/output error; {RESTORE}",
    }
    split = zarr.open_group(tmp_path / "o/train", mode="r")
    keys = [bytes(key).rstrip(b"\0").decode() for key in split["key"][:]]
    assert sorted(keys) == [key for item, key in enumerate(source.keys) if item not in BAD]
    assert order == "shuffled" or keys == sorted(keys)
    for row, key in enumerate(keys):
        np.testing.assert_array_equal(split["image"][row], source.read(int(key[6:]))[0])
    recorded = split.attrs["zarrfeed"]["packed"]
    assert recorded["found"] == split.attrs["zarrfeed"]["samples"] + len(recorded["skipped"])
    assert [entry["name"] for entry in recorded["skipped"]] == [name for name, _ in report.skipped]
    again = pack(source, tmp_path / "o", order=order)
    assert dataclasses.replace(report, seconds=0, decisions=()) == dataclasses.replace(
        again, seconds=0, decisions=(), status="packed"
    )


def test_the_store_does_not_depend_on_the_number_of_workers_nor_on_interruptions(tmp_path):
    source = Arrays(40, BAD)
    for workers in (1, 2, 3):
        pack(source, tmp_path / str(workers), workers=workers)
    for stop in (5, 20, 33):

        def interrupt(what, done, total, stop=stop):
            if what == "packing" and done == stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            pack(source, tmp_path / "stopped", progress=interrupt)
    pack(source, tmp_path / "stopped")
    expected = contents(tmp_path / "1")
    for other in ("2", "3", "stopped"):
        assert contents(tmp_path / other) == expected


def test_without_skip_the_first_failure_ends_it(tmp_path):
    for item, what in BAD.items():
        with pytest.raises(SourceError, match=rf"[im]{item}\b"):
            pack(Arrays(40, {item: what}), tmp_path / "o", on_error="stop")


def test_nothing_that_can_be_packed_is_an_error(tmp_path):
    for what in ("probe", "read"):
        with pytest.raises(SourceError, match="found none: all were skipped"):
            pack(Arrays(3, dict.fromkeys(range(3), what)), tmp_path / "o")
        assert not (tmp_path / "o").exists()


def test_files_that_make_no_sample_count_too(tmp_path, write_pairs):
    images, masks = write_pairs(5)
    sorted(masks.iterdir())[0].unlink()
    broken = sorted(images.iterdir())[2]
    broken.write_bytes(broken.read_bytes()[:50])
    report = pack(PairedFolders(images, masks), tmp_path / "o")
    assert (report.found, report.packed) == (5, 3)
    assert [Path(name).name for name, _ in report.skipped] == ["s000.png", broken.name]
    assert open_split(tmp_path / "o/train").layouts["image"].shape[0] == 3


def test_bad_samples_among_those_that_codecs_are_tried_on_are_skipped(tmp_path):
    report = pack(Arrays(3, {1: "read"}), tmp_path / "o", codec="auto", classes=None)
    assert "times smaller" in {d.what: d.reason for d in report.decisions}["image codec"]
    assert (report.packed, report.found) == (2, 3)


@given(
    count=st.integers(1, 60),
    failed=st.sets(st.integers(0, 59)),
    tiles=st.integers(1, 3),
    ordered=st.booleans(),
    seed=st.integers(0, 5),
)
def test_rows_without_failures(count, failed, tiles, ordered, seed):
    order = np.random.default_rng(seed).permutation(count * tiles)
    items, origins = np.repeat(np.arange(count), tiles), np.arange(2 * count * tiles).reshape(-1, 2)
    rows = Rows(items, origins).part(order)
    left = without(rows, failed, ordered=ordered)
    # Exactly the others are left, each of them once.
    assert sorted(left.origin[:, 0].tolist()) == sorted(
        rows.origin[~np.isin(rows.item, list(failed)), 0].tolist()
    )
    assert not failed & set(left.item.tolist())
    # It does not matter in which steps the failures were found.
    first = {item for item in failed if item % 2}
    if ordered:
        twice = without(without(rows, first, ordered=True), failed, ordered=True)
        assert twice.fingerprint() == left.fingerprint()
        assert (np.diff(left.part(np.argsort(left.origin[:, 0])).origin[:, 0]) > 0).all()
    else:  # a row stays where it is, unless it is one of the last, which fill the gaps
        stays = ~np.isin(rows.item[: len(left)], list(failed))
        np.testing.assert_array_equal(left.item[stays], rows.item[: len(left)][stays])
