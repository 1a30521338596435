"""A mix of a store on a server and one on this disk has the batches of two local ones."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from remote_stores import PATCHES, end_fetchers, write_samples, write_volumes
from zarrfeed import FrontEnd, Mix

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from servers.s3 import Bucket

pytest.importorskip("obstore")


@pytest.fixture(scope="module", params=["samples", "patches"])
def stores(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, dict[str, Any]]:
    """Two stores and what draws from them."""
    one, other = (tmp_path_factory.mktemp(name) for name in "ab")
    if request.param == "patches":
        store = write_volumes(one)
        return store, shutil.copytree(store, other / "more.zarr"), {"patches": PATCHES}
    return write_samples(one, samples=9), write_samples(other, samples=6), {}


def copied(batches: Iterable[Any]) -> list[list[NDArray[Any]]]:
    return [[array.copy() for array in batch] for batch in batches]


@pytest.mark.parametrize("kind", [{"workers": 0}, {"workers": 2}], ids=["inline", "two threads"])
def test_batches_of_a_remote_and_a_local_store_are_those_of_local_ones(
    bucket: Bucket, stores: tuple[Path, Path, dict[str, Any]], kind: dict[str, Any], tmp_path: Path
) -> None:
    """The same state goes on in both, because a store is known by what is in it."""
    one, other, options = stores
    options = {"batch_size": 4, "seed": 3, **options, **kind}
    with FrontEnd(Mix({one / "train": 3, other / "train": 2}), **options) as local:
        batches = iter(local)
        needed = copied([next(batches)])
        state = local.state_dict()
        needed += copied(batches) + copied(local)
    url = bucket.upload(one)
    cache = tmp_path / "cache"
    both = Mix({f"{url}/train": 3, other / "train": 2})
    remote = {"cache": cache, "storage_options": bucket.options}
    with FrontEnd(both, **options, **remote) as mixed:
        found = copied(mixed) + copied(mixed)
        mixed.load_state_dict(state)
        again = copied(mixed) + copied(mixed)
    assert len(found) == len(needed) > 2
    for batch, right in zip([*found, *again], [*needed, *needed[1:]], strict=True):
        for array, values in zip(batch, right, strict=True):
            np.testing.assert_array_equal(array, values)
    end_fetchers(cache)
