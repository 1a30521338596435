"""The comparison's samples are what they say, and a cell measures a real loader on them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from compare import cell_process
from compare.cell import Cell
from compare.cell_process import CellError, run_cell
from compare.identity import numbers_of
from compare.registry import peer_of, peers
from compare.samples import Samples, make_samples
from compare.workloads import Workload

TINY = Workload("tiny", 8, (8, 8, 3), (8, 8), "uint8", 4, compute_ms=0.1)
VOLUMES = Workload("tiny volumes", 8, (8, 8, 8), (8, 8, 8), "float32", 2, compute_ms=0.1)
MEMMAP = "Keras Sequence, np.memmap"


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    return make_samples(TINY, tmp_path_factory.mktemp("tiny") / "samples", images=None, masks=None)


@pytest.mark.parametrize("work", [TINY, VOLUMES], ids=lambda work: work.name)
def test_samples_depend_on_the_seed_alone(work: Workload, tmp_path: Path) -> None:
    one, same, other = (
        make_samples(work, tmp_path / name, images=None, masks=None, seed=seed)
        for name, seed in (("one", 0), ("same", 0), ("other", 1))
    )
    for field in ("image", "mask"):
        assert np.array_equal(one.array(field), same.array(field))
        assert numbers_of(one.array(field)).tolist() == list(range(work.samples))
    assert not np.array_equal(one.array("image"), other.array("image"))


def test_samples_larger_than_the_pictures_can_be_made(tmp_path: Path) -> None:
    large = Workload("large", 2, (600, 500, 3), (600, 500), "uint8", 1, compute_ms=0.1)
    made = make_samples(large, tmp_path / "samples", images=None, masks=None)
    assert made.array("image").std() > 10  # and all of it is picture
    assert made.array("image")[:, -1, -1].all()


def test_samples_are_made_once(samples: Samples) -> None:
    path = samples.folder / "image.npy"
    made = path.stat().st_mtime_ns
    make_samples(TINY, samples.folder, images=None, masks=None)
    assert path.stat().st_mtime_ns == made


@pytest.mark.parametrize("name", ["zarrfeed, raw", MEMMAP])
def test_a_cell_reads_every_sample_once(name: str, samples: Samples, tmp_path: Path) -> None:
    peer, work = peer_of(name), TINY.to_json()
    setting = {"workers": 1}
    peer.convert(samples, tmp_path)
    found = run_cell(
        Cell("read", name, work, str(samples.folder), str(tmp_path), setting, seconds=0, least=2)
    )
    assert (found["wrong"], found["whole"]) == ("", True)
    assert len(found["rates"]) == 2
    assert found["batches"] == 2 * TINY.batches
    assert found["peak_rss_mb"] > found["peak_held_mb"] > 0


def test_a_cell_times_every_batch_around_the_end_of_an_epoch(
    samples: Samples, tmp_path: Path
) -> None:
    peer_of(MEMMAP).convert(samples, tmp_path)
    work = replace(TINY, batch_size=2).to_json()
    cell = Cell("read-boundary", MEMMAP, work, str(samples.folder), str(tmp_path), {}, around=3)
    found = run_cell(cell)["ms"]
    assert len(found) == 6
    assert min(found) > 0


def test_a_cell_that_fails_says_why(samples: Samples, tmp_path: Path) -> None:
    cell = Cell("read", MEMMAP, TINY.to_json(), str(samples.folder), str(tmp_path), {})
    with pytest.raises(CellError, match=r"image\.npy"):
        run_cell(cell)


def test_a_cell_that_takes_too_long_is_ended(samples: Samples, tmp_path: Path) -> None:
    cell = Cell("read", MEMMAP, TINY.to_json(), str(samples.folder), str(tmp_path), {})
    with pytest.raises(CellError, match="not done after 0 s"):
        run_cell(cell, timeout=0.0)


def test_a_terminated_benchmark_leaves_no_cell_behind(samples: Samples, tmp_path: Path) -> None:
    peer_of(MEMMAP).convert(samples, tmp_path)
    cell = Cell(
        "read", MEMMAP, TINY.to_json(), str(samples.folder), str(tmp_path), {}, seconds=60.0
    )
    script = (
        "from compare.cell import Cell; from compare import cell_process;"
        f"cell_process.exit_on_sigterm(); cell_process.run_cell({cell!r})"
    )
    benchmarks = Path(cell_process.__file__).parent.parent
    with subprocess.Popen([sys.executable, "-c", script], cwd=benchmarks) as benchmark:
        process, deadline = psutil.Process(benchmark.pid), time.monotonic() + 60
        while not (cells := process.children()) and time.monotonic() < deadline:
            time.sleep(0.02)
        benchmark.terminate()
        assert benchmark.wait(60) == 128 + signal.SIGTERM
    assert len(cells) == 1
    assert not cells[0].is_running()


def test_every_peer_says_what_it_is() -> None:
    for name, peer in peers().items():
        assert peer.name == name
        assert peer.stored
        for level in peer.levels:
            assert peer.settings(TINY, level, 2)
