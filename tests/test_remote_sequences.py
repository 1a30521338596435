"""Sequences of remote stores give the batches of the local ones, from real servers."""

from __future__ import annotations

import pickle
import re
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr

import zarrfeed
from case_stores import random_case
from patch_stores import write_classed_cases, write_classed_samples
from remote_stores import with_shard_files
from zarrfeed import FrontEnd, RandomPatches
from zarrfeed.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from servers.s3 import Bucket

SAMPLES, SIZE = 20, 200
CODECS = {"raw": None, "lz4": zarr.codecs.BloscCodec(cname="lz4")}


@pytest.fixture(scope="module", params=CODECS)
def samples(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A split of 3 shards of 1 to 2 blocks, and masks of 1."""
    rng = np.random.default_rng(0)
    pixels = {
        "image": rng.integers(0, 256, (SAMPLES, SIZE, SIZE, 3), np.uint8),
        "mask": rng.integers(0, 3, (SAMPLES, SIZE, SIZE), np.uint8),
    }
    folder = tmp_path_factory.mktemp("samples") / "o.zarr"
    path = write_classed_samples(
        folder / "train", pixels, shard=9, compressors=CODECS[request.param]
    )
    return with_shard_files(path) / "train"


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sizes = [(90, 110), (200, 64), (70, 70), (300, 128)]
    found = {f"case{i}": random_case(size, "int16", 8, i) for i, size in enumerate(sizes)}
    folder = tmp_path_factory.mktemp("cases") / "c.zarr"
    path = write_classed_cases(
        folder / "train", found, (64, 64), shard=12, compressors=CODECS["lz4"]
    )
    return with_shard_files(path) / "train"


def epochs(sequence: FrontEnd, count: int = 2) -> list[list[Any]]:
    with sequence:
        return [
            [tuple(np.array(array) for array in batch) for batch in sequence] for _ in range(count)
        ]


def require_equal(found: list[list[Any]], wanted: list[list[Any]]) -> None:
    assert [len(epoch) for epoch in found] == [len(epoch) for epoch in wanted]
    for mine, theirs in zip(found, wanted, strict=True):
        for batch, true in zip(mine, theirs, strict=True):
            for array, values in zip(batch, true, strict=True):
                np.testing.assert_array_equal(array, values, strict=True)


@pytest.mark.parametrize(
    "options",
    [
        {"workers": 0},
        {"workers": 2, "shuffle": "block"},
        {"workers": 2, "use_multiprocessing": True},
        {"workers": 1, "subset": slice(3, 15), "fields": "image"},
        {"workers": 1, "cache_limit": "5MiB"},
    ],
    ids=str,
)
def test_batches_are_those_of_the_local_store(
    options: dict[str, Any], samples: Path, bucket: Bucket, tmp_path: Path
) -> None:
    url = bucket.upload(samples.parent) + "/train"
    remote = {"cache": tmp_path / "cache", "storage_options": bucket.options}
    local = {name: value for name, value in options.items() if name != "cache_limit"}
    found = epochs(FrontEnd(url, 4, timeout=60, **options, **remote))
    require_equal(found, epochs(FrontEnd(samples, 4, **local)))


@pytest.mark.parametrize("workers", [0, 2])
def test_patches_are_those_of_the_local_store(
    workers: int, cases: Path, bucket: Bucket, tmp_path: Path
) -> None:
    url = bucket.upload(cases.parent) + "/train"
    remote = {"cache": tmp_path / "cache", "storage_options": bucket.options, "timeout": 60}
    patches = RandomPatches((48, 80), per_epoch=12, shares={1: 0.5}, flips=True)
    options: dict[str, Any] = {"patches": patches, "workers": workers}
    found = epochs(FrontEnd(url, 3, **options, **remote))
    require_equal(found, epochs(FrontEnd(cases, 3, **options)))


def test_two_sequences_share_a_cache(samples: Path, bucket: Bucket, tmp_path: Path) -> None:
    url = bucket.upload(samples.parent) + "/train"
    remote: dict[str, Any] = {"cache": tmp_path / "c", "storage_options": bucket.options}
    wanted = [epochs(FrontEnd(samples, 4, seed=seed)) for seed in (1, 2)]
    found: list[Any] = [None, None]

    def read(number: int) -> None:
        found[number] = epochs(FrontEnd(url, 4, seed=number + 1, timeout=60, **remote))

    threads = [threading.Thread(target=read, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    for number in (0, 1):
        require_equal(found[number], wanted[number])


def test_the_second_program_asks_the_server_for_no_samples(
    samples: Path, bucket: Bucket, tmp_path: Path, fault_proxy: Callable[[str], Any]
) -> None:
    url = bucket.upload(samples.parent) + "/train"
    remote: dict[str, Any] = {"cache": tmp_path / "c", "timeout": 60}
    first = epochs(FrontEnd(url, 4, storage_options=bucket.options, **remote), 1)
    proxy = fault_proxy(bucket.endpoint)
    options = bucket.through(proxy.url).options
    require_equal(epochs(FrontEnd(url, 4, storage_options=options, **remote), 1), first)
    paths = [one.path for one in proxy.requests]
    assert len(paths) == len(set(paths)) > 5, "metadata is read once"
    assert not [one.path for one in proxy.requests if re.search("(image|mask)/c/", one.path)]


def test_keys_cases_and_splits_are_read_from_addresses(
    cases: Path, bucket: Bucket, tmp_path: Path
) -> None:
    url = bucket.upload(cases.parent)
    remote: dict[str, Any] = {"cache": tmp_path / "c", "storage_options": bucket.options}
    assert zarrfeed.list_splits(url, storage_options=bucket.options) == ("train",)
    split = zarrfeed.open_split(f"{url}/train", **remote)
    assert split.address == f"{url}/train"
    with (
        zarrfeed.SplitReader(split) as there,
        zarrfeed.SplitReader(zarrfeed.open_split(cases)) as here,
    ):
        for name, values in here.read(range(5)).items():
            np.testing.assert_array_equal(there.read(range(5))[name], values)
    case = zarrfeed.open_case(f"{url}/train", "case1", "mask", **remote)
    true = zarrfeed.open_case(cases, "case1", "mask")
    np.testing.assert_array_equal(case[10:150, 3:], true[10:150, 3:])
    scores = zarrfeed.evaluate(url, cases, field="mask", **remote)
    assert scores.mean_dice == 1


def test_what_was_not_packed_is_fetched_whole(bucket: Bucket, tmp_path: Path) -> None:
    group = zarr.open_group(str(tmp_path / "g"), mode="w")
    values = np.random.default_rng(0).integers(0, 9, (10, 5, 4, 3), np.uint8)
    group.create_array("image", data=values, chunks=(3, 5, 2, 3))
    group.create_array("mask", data=values[..., 0], chunks=(1, 5, 4))
    url = bucket.upload(tmp_path / "g")
    remote: dict[str, Any] = {"cache": tmp_path / "c", "storage_options": bucket.options}
    with pytest.warns(UserWarning, match="chunk by chunk"):
        found = epochs(FrontEnd(url, 3, timeout=60, **remote))
    with pytest.warns(UserWarning, match="chunk by chunk"):
        require_equal(found, epochs(FrontEnd(tmp_path / "g", 3)))


def test_a_copy_of_a_sequence_reads_the_same(samples: Path, bucket: Bucket, tmp_path: Path) -> None:
    url = bucket.upload(samples.parent) + "/train"
    sequence = FrontEnd(
        url, 4, cache=tmp_path / "c", storage_options=bucket.options, shuffle=False, timeout=60
    )
    again = pickle.loads(pickle.dumps(sequence))
    require_equal([[again[1]]], [[sequence[1]]])
    assert url in repr(sequence)
    for text in (repr(sequence), repr(sequence._request), repr(sequence._stream.batch_spec)):
        assert bucket.secret not in text


def test_mirrors_are_no_stores(samples: Path, bucket: Bucket, tmp_path: Path) -> None:
    url = bucket.upload(samples.parent) + "/train"
    split = zarrfeed.open_split(url, cache=tmp_path / "c", storage_options=bucket.options)
    with pytest.raises(StoreError, match="mirrors a remote split, of which parts may be missing"):
        FrontEnd(split.path, 4)


def test_nothing_in_a_cache_is_a_secret(samples: Path, bucket: Bucket, tmp_path: Path) -> None:
    url = bucket.upload(samples.parent) + "/train"
    epochs(FrontEnd(url, 4, cache=tmp_path / "c", storage_options=bucket.options, timeout=60), 1)
    files = [path for path in (tmp_path / "c").rglob("*") if path.is_file()]
    assert len(files) > 10
    for path in files:
        assert bucket.secret.encode() not in path.read_bytes()


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("{url}/trian", "no such split; {url} has train: did you mean 'train'?"),
        ("{above}/sample.zarr/train", "no such store; did you mean {url}/train?"),
        ("{above}/sample.zarr", "no such store; did you mean {url}?"),
        ("{above}", "needed a dataset or a split, found a folder of samples.zarr"),
        ("{url}", "name one of its splits, such as {url}/train (look up"),
        ("{above}/nothing/like/it.zarr", "no such store; check the address"),
    ],
)
def test_what_is_missing_names_what_is_near(
    place: str, words: str, samples: Path, bucket: Bucket, tmp_path: Path
) -> None:
    above = bucket.url("data")
    url = bucket.upload(samples.parent, "data/samples.zarr")
    said = words.format(url=url, above=above)
    options = {"storage_options": bucket.options}
    with pytest.raises(StoreError) as caught:
        FrontEnd(place.format(url=url, above=above), 4, cache=tmp_path / "c", **options)
    assert said in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    if place.endswith(("e.zarr", "above}", "it.zarr")):
        with pytest.raises(StoreError) as caught:
            zarrfeed.list_splits(place.format(url=url, above=above), **options)
        assert said in str(caught.value)


def test_a_dataset_on_a_web_server_needs_the_name_of_a_split(
    samples: Path, published: Callable[[Path], str], tmp_path: Path
) -> None:
    url = published(samples.parent)
    with pytest.raises(StoreError, match=r"needed the address of one split.*add its name"):
        FrontEnd(url, 4, cache=tmp_path / "c")


def test_what_is_no_json_is_shown(published: Callable[[Path], str], tmp_path: Path) -> None:
    page = tmp_path / "o.zarr" / "train" / "zarr.json"
    page.parent.mkdir(parents=True)
    page.write_text("<html>Please log in</html>")
    url = published(tmp_path / "o.zarr")
    with pytest.raises(StoreError, match=r"needed the JSON of a Zarr group, found.*Please log in"):
        FrontEnd(f"{url}/train", 4, cache=tmp_path / "c")
