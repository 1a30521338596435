"""A sequence given to torch's own ``DataLoader``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kinds import ids_of
from zarrfeed import FrontEnd

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def data() -> Any:
    """``torch.utils.data``: not when tests are collected, because importing torch takes seconds."""
    return pytest.importorskip(
        "torch.utils.data", reason="needs torch: pip install -e '.[backends]'"
    )


def test_a_loader_without_processes_goes_through_the_epochs(split: Path, data: Any) -> None:
    with FrontEnd(split, 4) as right, FrontEnd(split, 4) as seq:
        loader = data.DataLoader(seq, batch_size=None, num_workers=0)
        for _ in range(3):
            found = [ids_of(tuple(array.numpy() for array in batch)) for batch in loader]
            assert found == [ids_of(batch) for batch in right]


@pytest.mark.parametrize("context", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_loader_with_processes_is_told_the_way(split: Path, data: Any, context: str) -> None:
    """In each of them, whether forked or pickled, epochs would stand still."""
    with FrontEnd(split, 4) as seq:
        loader = data.DataLoader(
            seq, batch_size=None, num_workers=1, multiprocessing_context=context
        )
        batches = iter(loader)
        with pytest.raises(RuntimeError, match=r"FrontEnd reads ahead by itself.*num_workers=0"):
            next(batches)
        batches._shutdown_workers()  # which the error would keep
