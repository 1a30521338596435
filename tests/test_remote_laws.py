"""Whatever is cached, and however little may be: batches are those of the local store."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from remote_stores import (
    MIB,
    PATCHES,
    end_fetchers,
    mirrored_files,
    trained,
    write_samples,
    write_volumes,
)
from zarrfeed.store.mirror.block_table import BlockTable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from web_server import WebServer
    from zarrfeed.store.mirror.file_table import FileTable

pytest.importorskip("obstore")


@dataclass
class Example:
    """A store on a server, a cache that holds all of it, and the batches of the local store."""

    url: str
    store: Path
    options: dict[str, Any]
    filled: Path
    files: FileTable
    expected: dict[int, list[str]]


SEEDS = (0, 1)
INDEX = 4096  # more than the index of a shard, which stays when its blocks go
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # an example takes seconds: none is shrunk


@pytest.fixture(scope="module")
def web_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module", params=["samples", "samples in lz4", "patches"])
def example(
    request: pytest.FixtureRequest, web: WebServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Example]:
    folder = tmp_path_factory.mktemp("store")
    patches = request.param == "patches"
    codec = "lz4" if "lz4" in request.param else "raw"
    store = write_volumes(folder) if patches else write_samples(folder, codec)
    options: dict[str, Any] = {"patches": PATCHES} if patches else {}
    link = web.root / folder.name
    link.symlink_to(folder)
    url = f"{web.url}/{folder.name}/{store.name}/train"
    cache = tmp_path_factory.mktemp("cache")
    expected = {seed: trained(store / "train", seed=seed, **options) for seed in SEEDS}
    assert trained(url, seed=0, cache=cache, **options) == expected[0]
    end_fetchers(cache)
    yield Example(url, store, options, cache, mirrored_files(store / "train"), expected)
    link.unlink()


@settings(
    max_examples=4, phases=PHASES, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    absent=st.one_of(st.just(0.0), st.floats(0, 1), st.just(1.0)),
    chance=st.integers(0, 1 << 30),
    limit=st.one_of(st.none(), st.integers(14, 30)),
    seed=st.sampled_from(SEEDS),
    workers=st.sampled_from([0, 1]),
)
def test_batches_never_depend_on_the_cache(
    absent: float, chance: int, limit: int | None, seed: int, workers: int, example: Example
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        shutil.copytree(example.filled, cache)
        forget(cache, example.files, absent, chance)
        found = trained(
            example.url, seed=seed, workers=workers, cache=cache,
            cache_limit=None if limit is None else limit * MIB, max_queue_size=1, **example.options,
        )  # fmt: skip
        assert found == example.expected[seed]
        end_fetchers(cache)


def forget(cache: Path, files: FileTable, share: float, chance: int) -> None:
    """Make some blocks of a cache absent, and garbage."""
    (path,) = cache.rglob("blocks")
    table = BlockTable.open(path, files, writable=True)
    rng = np.random.default_rng(chance)
    blocks = np.flatnonzero(rng.random(files.blocks) < share)
    table.evict(blocks)
    table.verified[:] = 0
    split = path.parent.with_suffix("")
    for block in blocks:
        place = files.place_of(int(block))
        field, shard = files.field_and_shard(place.file)
        found = next(
            (p for p in (split / field / "c" / str(shard)).rglob("0") if p.is_file()), None
        )
        if found is None:  # it is made when it is needed
            continue
        with found.open("r+b") as file:
            file.seek(place.offset)
            left = int(files.nbytes[place.file]) - INDEX - place.offset
            file.write(rng.bytes(max(0, min(place.nbytes, left))))
