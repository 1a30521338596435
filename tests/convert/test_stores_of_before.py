"""Stores that an older zarrfeed wrote, whole or in part, are of use to this one.

``stores_of_before`` was written at commit 961a781 (zarrfeed 0.1.0), and is never written anew::

    packed.zarr         `write_pngs(ids=IDS)` as ``train``, raw, and cut into ``tiles``, lz4
    half_packed.zarr    the same ``train``, killed (SIGKILL) after the first of two shards
    half_repacked.zarr  of packed.zarr/train, killed likewise; HERE is where that is
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr

import zarrfeed
from folders import contents
from pinned_conversions import mask, numbers, pack, write_pngs
from stored_samples import attributes, by_key, require_same
from zarrfeed import ZarrSequence, open_split
from zarrfeed.errors import SourceError, StoreError
from zarrfeed_convert import repack, verify

if TYPE_CHECKING:
    from zarrfeed_convert import PairedFolders

BEFORE = Path(__file__).with_name("stores_of_before")
IDS = (0, 1, 2, 255)
REPACKED = {"split": "train", "codec": "lz4", "order": "shuffled", "seed": 2, "workers": 1}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put copies of the stores where they may be changed."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(BEFORE, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def pairs(here: Path) -> PairedFolders:
    return write_pngs(ids=IDS)


def change_run(store: Path, **entries: Any) -> None:
    """Change what a run that was killed had been asked for."""
    path = store / "train~journal.partial" / "run.json"
    run = json.loads(path.read_text("utf-8").replace("HERE", str(store.parent)))
    run["asked"] |= entries
    path.write_text(json.dumps(run), "utf-8")


# -- Whole stores ----------------------------------------------------------------------------------


def test_a_store_of_before_feeds_its_pixels(here: Path) -> None:
    with ZarrSequence("packed.zarr/train", 3, seed=1, workers=2) as sequence:
        keys = [key for batch in range(len(sequence)) for key in sequence.batch_keys(batch)]
        rows = [
            (image.copy(), of_it.copy())
            for batch in sequence
            for image, of_it in zip(*batch, strict=True)
        ]
    assert sorted(keys) == [f"s{sample}" for sample in range(7)]
    for key, (image, of_it) in zip(keys, rows, strict=True):
        np.testing.assert_array_equal(image, numbers(key, (12, 10, 3)))
        np.testing.assert_array_equal(of_it, mask(key, (12, 10), IDS))


def test_tiles_of_before_feed_what_was_cut(here: Path) -> None:
    with ZarrSequence("packed.zarr/tiles", 8, shuffle=False, workers=0) as sequence:
        count = 0
        for batch in range(len(sequence)):
            images, masks = sequence[batch]
            for row, key in enumerate(sequence.batch_keys(batch)):
                name, _, origin = key.partition("#")
                y, x = map(int, origin.split(","))
                box = slice(y, y + 6), slice(x, x + 5)
                np.testing.assert_array_equal(images[row], numbers(name, (12, 10, 3))[box])
                np.testing.assert_array_equal(masks[row], mask(name, (12, 10), IDS)[box])
                count += 1
    assert count == 7 * 3 * 3


def test_what_a_store_of_before_says_of_itself_is_understood(here: Path) -> None:
    for split, samples in (("train", 7), ("tiles", 63)):
        found = open_split(f"packed.zarr/{split}")
        assert (found.classes, found.ignore) == (("0", "1", "2"), 255)
        assert found.layouts["image"].shape[0] == samples


def test_a_store_of_before_is_verified_against_its_originals(pairs: PairedFolders) -> None:
    assert verify("packed.zarr", source=True, workers=1).ok
    path = Path("images", "s3.png")
    path.write_bytes(Path("images", "s2.png").read_bytes())
    found = verify("packed.zarr", source=True, workers=1)
    assert {problem.key.partition("#")[0] for problem in found.problems} == {"s3"}


@pytest.mark.parametrize("split", ["train", "tiles"])
def test_a_store_of_before_is_repacked(pairs: PairedFolders, here: Path, split: str) -> None:
    repack(f"packed.zarr/{split}", "new.zarr", split="new", codec="zstd", workers=1)
    require_same(by_key(here / "new.zarr/new"), by_key(here / "packed.zarr" / split))
    assert verify("new.zarr", source=True, workers=1).ok
    assert open_split("new.zarr/new").describing("dhash") is not None


def test_stores_of_before_and_of_now_are_merged(pairs: PairedFolders, here: Path) -> None:
    pack(pairs, ignore=255)
    repack(["packed.zarr/train", "o.zarr/train"], "new.zarr", split="all", prefix_keys=True,
           workers=1)  # fmt: skip
    assert len(by_key(here / "new.zarr/all")) == 14
    hashes, wanted = (
        zarr.open_group(str(here / split), mode="r")["dhash"][:]
        for split in ("new.zarr/all", "o.zarr/train")
    )
    assert sorted(hashes) == sorted([*wanted, *wanted])
    assert verify("new.zarr", workers=1).ok


def test_a_conversion_of_before_is_known_as_the_same(pairs: PairedFolders, here: Path) -> None:
    """What it was asked for is compared with what is recorded, so that it is read again."""
    before = contents(here / "packed.zarr")
    pack(pairs, out="packed.zarr", ignore=255)
    assert contents(here / "packed.zarr") == before
    with pytest.raises(SourceError, match=r"seed: 0 there, 1 asked for.*--overwrite"):
        pack(pairs, out="packed.zarr", ignore=255, seed=1)
    assert contents(here / "packed.zarr") == before


def test_tiles_of_before_are_replaced_by_tiles_of_now_if_asked(
    pairs: PairedFolders, here: Path
) -> None:
    before, options = contents(here / "packed.zarr"), {"tile": (6, 5), "chunk_samples": 1}
    differ = "fit: tile there, none asked for.* and 1 more"
    with pytest.raises(SourceError, match=f"overlap: 2 there, 0 asked for.*{differ}.*--overwrite"):
        pack(pairs, "tiles", out="packed.zarr", ignore=255, **options)
    assert contents(here / "packed.zarr") == before
    pack(pairs, "tiles", out="packed.zarr", ignore=255, overwrite=True, **options)
    assert not list((here / "packed.zarr/tiles").glob("tile*"))
    assert verify("packed.zarr", source=True, workers=1).ok


def test_a_dataset_of_before_gets_another_split(pairs: PairedFolders, here: Path) -> None:
    pack(pairs, "val", out="packed.zarr")  # of the classes that are there
    found = open_split("packed.zarr/val")
    assert (found.classes, found.ignore) == (("0", "1", "2"), 255)
    with pytest.raises(SourceError, match="classes"):
        pack(pairs, "test", out="packed.zarr", classes="a,b", ignore=255)


def test_a_split_of_before_is_overwritten(pairs: PairedFolders, here: Path) -> None:
    pack(pairs, out="packed.zarr", ignore=255, seed=1, overwrite=True)
    assert attributes(here / "packed.zarr/train")["packed"]["settings"]["seed"] == 1
    assert verify("packed.zarr", source=True, workers=1).ok


# -- Conversions that were killed ------------------------------------------------------------------


def test_what_was_not_finished_before_is_not_opened(here: Path) -> None:
    for store in ("half_packed.zarr", "half_repacked.zarr"):
        for name in ("train", "train.partial"):
            with pytest.raises(StoreError):
                open_split(f"{store}/{name}")


def test_a_conversion_that_was_killed_before_goes_on(pairs: PairedFolders, here: Path) -> None:
    store = here / "half_packed.zarr"
    change_run(store, zarrfeed=zarrfeed.__version__)  # of another version, see below
    shard = (store / "train.partial/image/c/0/0/0/0").stat()
    told = []
    pack(pairs, out=store, ignore=255, progress=lambda *step: told.append(step))
    assert min(done for what, done, _ in told if what == "packing") == 4
    packed = (store / "train/image/c/0/0/0/0").stat()
    assert (packed.st_ino, packed.st_mtime_ns) == (shard.st_ino, shard.st_mtime_ns)
    pack(pairs, ignore=255)
    now = contents(here / "o.zarr")
    # The shard of before has no hashes of its images, so that the split has none.
    assert contents(store) == {
        name: data for name, data in now.items() if not name.startswith("train/dhash/")
    }
    assert len(now) == len(contents(store)) + 2


def test_a_repack_that_was_killed_before_goes_on(pairs: PairedFolders, here: Path) -> None:
    store = here / "half_repacked.zarr"
    change_run(store, zarrfeed=zarrfeed.__version__)
    shard = (store / "train.partial/image/c/0/0/0/0").stat()
    repack("packed.zarr/train", store, **REPACKED)
    packed = (store / "train/image/c/0/0/0/0").stat()
    assert (packed.st_ino, packed.st_mtime_ns) == (shard.st_ino, shard.st_mtime_ns)
    require_same(by_key(store / "train"), by_key(here / "packed.zarr/train"))
    assert verify(store, source=True, workers=1).ok


@pytest.mark.parametrize("store", ["half_packed.zarr", "half_repacked.zarr"])
def test_what_another_version_was_killed_at_is_refused_until_restart_is_asked_for(
    pairs: PairedFolders, here: Path, store: str
) -> None:
    change_run(here / store, zarrfeed="0.0.1")
    kept = contents(here / store)

    def go_on(**options: Any) -> None:
        if store == "half_packed.zarr":
            pack(pairs, out=store, ignore=255, **options)
        else:
            repack("packed.zarr/train", store, **REPACKED, **options)

    differ = rf"\(zarrfeed: 0\.0\.1 there, {zarrfeed.__version__} asked for\)"
    with pytest.raises(SourceError, match=rf"1 of its shards were packed.*{differ}.*--restart"):
        go_on()
    assert contents(here / store) == kept
    go_on(restart=True)
    require_same(by_key(here / store / "train"), by_key(here / "packed.zarr/train"))


def test_other_settings_than_those_of_before_are_refused(pairs: PairedFolders, here: Path) -> None:
    change_run(here / "half_packed.zarr", zarrfeed=zarrfeed.__version__)
    with pytest.raises(SourceError, match=r"\(--seed: 0 there, 3 asked for\).*--restart"):
        pack(pairs, out="half_packed.zarr", ignore=255, seed=3)
    change_run(here / "half_repacked.zarr", zarrfeed=zarrfeed.__version__)
    with pytest.raises(SourceError, match=r"\(--seed: 2 there, 3 asked for\).*--restart"):
        repack("packed.zarr/train", "half_repacked.zarr", **{**REPACKED, "seed": 3})
