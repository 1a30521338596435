"""Damage is never copied on, and a repacking that is stopped ends as if it had not been."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import zarr

from folders import contents
from packed import copy_of, flipped, make_older, pack
from stored_samples import by_key, require_same
from zarrfeed.errors import SourceError
from zarrfeed_convert import repack, verify

SAMPLE = 7 * 6 * 3


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    return {codec: pack(tmp_path_factory.mktemp(codec), codec) for codec in ("raw", "lz4")}


def again(packed, out, **options):
    return repack(packed.split, out, split="new", **{"workers": 1, "codec": "zstd", **options})


# -- Damage ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("field", ["image", "mask"])
@pytest.mark.parametrize("codec", ["raw", "lz4"])
def test_a_damaged_sample_ends_the_run_and_is_named(stores, tmp_path, codec, field, workers):
    packed = stores[codec]
    path = packed.shard(field, 1)
    chunk = 2 * SAMPLE // (1 if field == "image" else 3)
    place = chunk // 2 + 3 if codec == "raw" else 30  # the chunk's second sample; its payload
    with flipped(path, place, 1), pytest.raises(SourceError) as error:
        again(packed, tmp_path / "o.zarr", workers=workers)
    said = str(error.value)
    keys = packed.keys[5:6] if codec == "raw" else packed.keys[4:6]
    assert any(repr(key) in said for key in keys)
    assert str(path) in said
    assert str(packed.split) in said
    other = packed.shard("mask" if field == "image" else "image", 1)
    assert str(other) not in said
    assert not (tmp_path / "o.zarr/new").exists()


def test_every_flipped_byte_of_pixels_is_found(stores, tmp_path):
    """Raw chunks have no checksum of their own: the samples' digests are all there is."""
    packed = stores["raw"]
    rng = np.random.default_rng(0)
    for number in range(3):
        path = packed.shard("image", number)
        samples = min(4, 11 - 4 * number)
        for place in rng.integers(0, samples * SAMPLE, 4).tolist():
            key = packed.keys[4 * number + place // SAMPLE]
            with flipped(path, place, 1 << place % 8), pytest.raises(SourceError, match=key):
                again(packed, tmp_path / "o.zarr", order="source", restart=True)
    assert not (tmp_path / "o.zarr/new").exists()
    again(packed, tmp_path / "o.zarr", order="source")  # what was sound goes on to be used
    require_same(by_key(tmp_path / "o.zarr/new"), by_key(packed.split))


def test_all_that_is_found_in_the_way_is_named_once(stores, tmp_path):
    packed = copy_of(stores["raw"], tmp_path / "copy")
    packed.shard("image", 1).unlink()
    with pytest.raises(SourceError, match="the shard is missing") as error:
        again(packed, tmp_path / "o.zarr")
    assert str(error.value).count(str(packed.shard("image", 1))) == 1
    assert repr(packed.keys[4]) in str(error.value)


def test_a_digest_that_is_damaged_itself_is_blamed(stores, tmp_path):
    packed = copy_of(stores["raw"], tmp_path / "copy")
    digest = zarr.open_array(str(packed.split / "digest"))
    digest[6] = 1
    with pytest.raises(SourceError, match="the recorded digest is damaged") as error:
        again(packed, tmp_path / "o.zarr")
    assert str(error.value).startswith(f"{packed.split / 'digest'}: sample {packed.keys[6]!r}")


def test_where_nothing_tells_which_file_is_damaged_both_are_named(stores, tmp_path):
    packed = copy_of(stores["raw"], tmp_path / "copy")
    make_older(packed)
    with flipped(packed.shard("image", 0), 0, 1), pytest.raises(SourceError) as error:
        again(packed, tmp_path / "o.zarr")
    for field in ("image", "mask"):
        assert str(packed.shard(field, 0)) in str(error.value)


def test_a_split_whose_records_do_not_fit_is_refused(stores, tmp_path):
    packed = copy_of(stores["raw"], tmp_path / "copy")
    shutil.rmtree(packed.split / "digest")
    with pytest.raises(SourceError, match=r"cannot be repacked: .*digest"):
        again(packed, tmp_path / "o.zarr")
    assert not (tmp_path / "o.zarr").exists()


def test_counts_that_were_lost_are_counted_anew(stores, tmp_path):
    """A file of zeros is not written, so that nobody would miss a file of counts."""
    packed = copy_of(stores["raw"], tmp_path / "copy")
    make_older(packed)
    shutil.rmtree(packed.split / "class_pixels" / "c")
    again(packed, tmp_path / "o.zarr")
    require_same(by_key(tmp_path / "o.zarr/new"), by_key(stores["raw"].split))
    assert verify(tmp_path / "o.zarr", workers=1).ok


def test_an_input_that_changes_under_way_is_not_copied(stores, tmp_path):
    packed = copy_of(stores["raw"], tmp_path / "copy")
    other = zarr.open_array(str(packed.split / "image"))

    def change(what, done, total):
        if done == 1:
            other[8:] = 0

    with pytest.raises(SourceError, match=f"sample '{packed.keys[8]}'"):
        again(packed, tmp_path / "o.zarr", progress=change)


# -- Stopped, and gone on with ---------------------------------------------------------------------


def stop(monkeypatch, packed, out, *, shards):
    """Let a run end by an interrupt when some shards are packed."""
    from zarrfeed_convert.shards.shard_record import ShardRecord

    save, left = ShardRecord.save, [shards]

    def count(record, path):
        save(record, path)
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ShardRecord, "save", count)
        with pytest.raises(KeyboardInterrupt) as interrupt:
            again(packed, out)
    return interrupt.value.__notes__[0]


def test_a_run_that_goes_on_copies_only_what_is_left(stores, tmp_path, monkeypatch):
    note = stop(monkeypatch, stores["raw"], tmp_path / "o.zarr", shards=2)
    assert "2 shards are packed and kept" in note
    told = []
    again(stores["raw"], tmp_path / "o.zarr", progress=lambda *step: told.append(step[1]))
    assert min(told) == 8  # the samples of the two shards that are kept, counted at once
    again(stores["raw"], tmp_path / "expected.zarr")
    assert contents(tmp_path / "o.zarr") == contents(tmp_path / "expected.zarr")


def test_another_wish_does_not_go_on_with_what_was_begun(stores, tmp_path, monkeypatch):
    stop(monkeypatch, stores["raw"], tmp_path / "o.zarr", shards=1)
    with pytest.raises(SourceError, match=r"order: stored there, source asked for.*--restart"):
        again(stores["raw"], tmp_path / "o.zarr", order="source")
    again(stores["raw"], tmp_path / "o.zarr", order="source", restart=True)
    assert list(by_key(tmp_path / "o.zarr/new")) == sorted(stores["raw"].keys)


def test_an_input_that_was_changed_meanwhile_is_not_gone_on_with(stores, tmp_path, monkeypatch):
    packed = copy_of(stores["raw"], tmp_path / "copy")
    stop(monkeypatch, packed, tmp_path / "o.zarr", shards=1)
    repack(packed.split, packed.store, split="train", order="source", overwrite=True, workers=1)
    with pytest.raises(SourceError, match=r"contents: .* there, .* asked for"):
        again(packed, tmp_path / "o.zarr")


def test_what_is_there_is_accepted_or_replaced_as_a_whole(stores, tmp_path):
    out = tmp_path / "o.zarr"
    again(stores["raw"], out)
    before = contents(out)
    report = again(stores["raw"], out)
    assert (report.status, report.found, report.packed) == ("already packed", 11, 11)
    assert contents(out) == before
    with pytest.raises(SourceError, match=r"codec: zstd there, raw asked for.*--overwrite"):
        again(stores["raw"], out, codec="raw")
    with pytest.raises(SourceError, match="train: exists already, packed from paired, not from"):
        repack(out / "new", stores["raw"].store, split="train")
    assert again(stores["raw"], out, codec="raw", overwrite=True).status == "packed"
    require_same(by_key(out / "new"), by_key(stores["raw"].split))


def test_a_split_is_replaced_by_what_is_made_of_it(stores, tmp_path):
    packed = copy_of(stores["raw"], tmp_path / "copy")
    before = by_key(packed.split)
    for codec in ("lz4", "zstd"):  # in one process: nothing of the first is still open
        repack(packed.store, packed.store, split="train", codec=codec, overwrite=True, workers=1)
        require_same(by_key(packed.split), before)
    assert sorted(path.name for path in packed.store.iterdir()) == ["train", "zarr.json"]
    halved = {"split": "train", "subset": slice(None, None, 2), "overwrite": True, "workers": 1}
    for status in ("packed", "already packed"):  # a command that is repeated does not halve again
        assert repack(packed.store, packed.store, **halved).status == status
        require_same(by_key(packed.split), {key: before[key] for key in list(before)[::2]})
    with flipped(packed.shard("image", 0), 20, 1):
        kept = contents(packed.split)
        with pytest.raises(SourceError):
            repack(packed.store, packed.store, split="train", codec="raw", overwrite=True)
        assert contents(packed.split) == kept


def test_samples_are_added_to_a_split(stores, tmp_path):
    packed = copy_of(stores["raw"], tmp_path / "copy")
    for name, part in (("train", slice(0, 8)), ("more", slice(8, None))):
        repack(packed.split, tmp_path / "o.zarr", split=name, subset=part, workers=1)
    both = [tmp_path / "o.zarr/train", tmp_path / "o.zarr/more"]
    added = {"split": "train", "order": "stored", "overwrite": True, "workers": 1}
    for status in ("packed", "already packed"):
        assert repack(both, tmp_path / "o.zarr", **added).status == status
        require_same(by_key(tmp_path / "o.zarr/train"), by_key(stores["raw"].split))


def test_a_dry_run_decides_and_writes_nothing(stores, tmp_path):
    options = {"dry_run": True, "codec": "auto", "chunk_samples": 1}
    report = again(stores["raw"], tmp_path / "o.zarr", **options)
    assert report.status == "dry run"
    assert {field.stored_bytes for field in report.fields} == {None}
    why = {decision.what: decision.reason for decision in report.decisions}
    assert why["samples"].endswith(str(stores["raw"].split))
    assert "times smaller" in why["mask codec"]
    assert sum(row.share for row in report.classes) == pytest.approx(1)
    assert not (tmp_path / "o.zarr").exists()
