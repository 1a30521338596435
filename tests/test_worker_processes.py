"""Worker processes run what they were given and nothing else; how they fail is said, soon."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

import transforms
from kinds import KINDS, PROCESSES, children, ids_of
from scripts import environment
from zarrfeed import WorkerError, ZarrSequence
from zarrfeed.feed.workers import process_handle

if TYPE_CHECKING:
    from pathlib import Path

# What a worker, or what it loads, imports: early and late.
SHADOWS = [
    "socket", "random", "select", "signal", "pickle", "tempfile", "traceback", "numcodecs", "numpy",
    "cloudpickle", "google_crc32c", "zarrfeed", "zarr", "sitecustomize_of_nobody",
]  # fmt: skip


@pytest.fixture
def shadows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder holds modules of well-known names; each leaves a mark if it is run."""
    folder = tmp_path / "downloaded"
    folder.mkdir()
    for name in SHADOWS:
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / name)!r} + '.ran', 'w')\n1 / 0")
    (folder / "augmentation_of_ours.py").write_text(
        "import random, socket\ndef augment(image, mask, rng):\n    return image, mask\n"
    )
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("on_the_path", [False, True], ids=["current folder", "as in a notebook"])
def test_nothing_in_the_current_folder_stands_for_a_module_of_ours(
    on_the_path: bool, shadows: Path, split: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if on_the_path:
        monkeypatch.setattr(sys, "path", ["", *sys.path])
    with ZarrSequence(split, 4, transform=transforms.slow, **PROCESSES) as seq:
        assert sorted(i for batch in seq for i in ids_of(batch)) == list(range(22))
    assert not list(shadows.parent.glob("*.ran"))


def test_a_function_of_a_module_beside_the_script_is_found(
    shadows: Path, split: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though that module imports what others there seem to be."""
    monkeypatch.setattr(sys, "path", [str(shadows), *sys.path])
    import augmentation_of_ours  # type: ignore[import-not-found]

    with ZarrSequence(split, 4, transform=augmentation_of_ours.augment, **PROCESSES) as seq:
        assert len(list(seq)) == 6
    assert not list(shadows.parent.glob("*.ran"))
    del sys.modules["augmentation_of_ours"]


def test_a_process_that_is_killed_before_its_first_batch_is_replaced(
    split: Path, tmp_path: Path
) -> None:
    transform = transforms.KilledWhenLoaded(str(tmp_path), 1)
    with ZarrSequence(split, 4, shuffle=False, transform=transform, **PROCESSES) as seq:
        with pytest.warns(RuntimeWarning, match=r"died \(signal 9\) before its first batch"):
            assert [i for batch in seq for i in ids_of(batch)] == list(range(22))
        assert len(children()) == 2
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.filterwarnings("ignore:worker process")
def test_processes_that_are_all_killed_before_their_first_batch_are_an_error(
    split: Path, tmp_path: Path
) -> None:
    transform = transforms.KilledWhenLoaded(str(tmp_path), 100)
    with (
        ZarrSequence(split, 4, transform=transform, **PROCESSES) as seq,
        pytest.raises(WorkerError, match=r"before its first batch \(signal 9\)"),
    ):
        list(seq)
    assert not children()


@pytest.mark.filterwarnings("ignore:worker process")
def test_a_crash_names_the_samples_at_work(split: Path) -> None:
    with ZarrSequence(
        split, 4, shuffle=False, transform=transforms.killed_on_nine, **PROCESSES
    ) as seq:
        names = "sample 8, sample 9, sample 10, sample 11"
        with pytest.raises(WorkerError, match=rf"batch 2 of epoch 0 \({names}\): .*signal 9"):
            list(seq)


@pytest.mark.parametrize("kind", KINDS)
def test_a_very_long_error_is_shortened_and_one_without_words_is_told(
    kind: str, split: Path
) -> None:
    for transform, said in (
        (transforms.raises_a_long_error, "here it begins x.* characters … x.* here it ends"),
        (transforms.raises_an_unspeakable_error, "cannot be shown.* on sample 9"),
    ):
        with ZarrSequence(split, 4, shuffle=False, transform=transform, **KINDS[kind]) as seq:
            with pytest.raises(WorkerError, match=said) as raised:
                list(seq)
            notes = getattr(raised.value, "__notes__", [])
            assert len(str(raised.value)) + sum(map(len, notes)) < 100_000


def test_processes_that_are_stuck_are_ended_together(
    split: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_handle, "EXIT_SECONDS", 2.0)
    seq = ZarrSequence(split, 4, workers=8, use_multiprocessing=True)
    next(iter(seq))
    for child in children():
        os.kill(child.pid, signal.SIGSTOP)
    began = time.monotonic()
    seq.close()
    assert time.monotonic() - began < 8  # not 2 s for each
    assert not children()


SCRIPT = """
import os, sys
import transforms
from zarrfeed import ZarrSequence

split = os.path.abspath(sys.argv[1])
os.rmdir(os.getcwd())
for transform in (transforms.noisy, transforms.raises_on_nine):
    with ZarrSequence(split, 4, transform=transform, workers=2, use_multiprocessing=True) as seq:
        try:
            print(sum(len(mask) for _, mask in seq))
        except Exception as error:
            print(error)
"""


def test_no_current_folder_and_no_standard_error_lose_no_batch_and_no_error(
    split: Path, tmp_path: Path
) -> None:
    (tmp_path / "gone").mkdir()
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(split)],
            stdout=subprocess.PIPE, stderr=full, text=True, timeout=100, check=False,
            cwd=tmp_path / "gone", env=environment(),
        )  # fmt: skip
    assert done.stdout.startswith("22\n")
    assert "raises_on_nine raised ZeroDivisionError" in done.stdout
