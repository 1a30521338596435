"""Packing processes: none hangs, none outlives its work, none runs the user's script."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap

import pytest

from zarrfeed.errors import SourceError
from zarrfeed_convert import PairedFolders, convert


def run_script(tmp_path, text):
    (tmp_path / "script.py").write_text(textwrap.dedent(text))
    command = [sys.executable, "script.py"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False
    )
    return done.stdout + done.stderr


def test_a_process_that_dies_is_an_error_not_a_hang(tmp_path, write_pairs):
    write_pairs(3)
    said = run_script(
        tmp_path,
        """
        import os, signal
        from zarrfeed.errors import WorkerError
        from zarrfeed_convert import PairedFolders, convert

        class Dying(PairedFolders):
            def probe(self, sample):
                os.kill(os.getpid(), signal.SIGKILL)

        if __name__ == "__main__":
            try:
                convert(Dying("data/images", "data/masks"), "o", split="s", workers=2)
            except WorkerError as error:
                print(error, os.path.exists("o"))
        """,
    )
    assert "fewer workers (--workers) (look up: memory) False" in said


def test_processes_do_not_run_the_users_script_again(tmp_path, write_pairs):
    write_pairs(3)
    said = run_script(
        tmp_path,
        """
        from zarrfeed_convert import PairedFolders, convert
        print("begin")
        print(convert(PairedFolders("data/images", "data/masks"), "o", split="s", workers=2).status)
        """,
    )
    assert said.split() == ["begin", "packed"]


def test_a_source_that_vanishes_under_way_is_an_error_and_leaves_nothing(tmp_path, write_pairs):
    folders = write_pairs(20)

    def vanish(what, done, total):
        if what == "packing" and done == 3:
            shutil.rmtree(folders[0])

    with pytest.raises(SourceError, match="No such file"):
        convert(PairedFolders(*folders), tmp_path / "o", split="s", workers=1, progress=vanish)
    assert not (tmp_path / "o").exists()


def test_a_process_that_is_only_starting_says_nothing_on_ctrl_c(tmp_path, write_pairs):
    write_pairs(3)
    said = run_script(
        tmp_path,
        """
        import os, psutil, signal, time
        from zarrfeed_convert import PairedFolders, convert

        def interrupt(what, done, total):
            for child in psutil.Process().children():
                os.kill(child.pid, signal.SIGINT)
            raise KeyboardInterrupt

        try:
            convert(
                PairedFolders("data/images", "data/masks"), "o", split="s", workers=3,
                progress=interrupt,
            )
        except KeyboardInterrupt:
            print("interrupted", os.path.exists("o"))
        """,
    )
    assert said.split() == ["interrupted", "False"]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupt_before_any_shard_is_packed_leaves_nothing(tmp_path, write_pairs, workers):
    def interrupt(what, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(
            PairedFolders(*write_pairs(20)),
            tmp_path / "o",
            split="s",
            workers=workers,
            progress=interrupt,
        )
    assert not (tmp_path / "o").exists()


def test_blosc_starts_no_threads_in_any_process(tmp_path, write_pairs):
    """Their number would decide on the bytes."""
    write_pairs(3)
    said = run_script(
        tmp_path,
        """
        import numcodecs.blosc
        from zarrfeed_convert import PairedFolders, convert

        class Telling(PairedFolders):
            def probe(self, sample):
                open("told", "a").write(f"{numcodecs.blosc.use_threads} ")
                return super().probe(sample)

        if __name__ == "__main__":
            for workers in (1, 2):
                convert(Telling("data/images", "data/masks"), f"o{workers}", split="s",
                        workers=workers)
            print(open("told").read())
        """,
    )
    assert said.split() == ["False"] * 6
