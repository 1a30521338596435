"""A decoder that crashes, hangs or fills the memory ends no more than its own process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from zarrfeed.errors import SourceError
from zarrfeed_convert import PairedFolders, convert
from zarrfeed_convert.supervision.child import module_path

TESTS = Path(__file__).resolve().parents[1]
SUPERVISE = """
import sys
from zarrfeed_convert import supervise
sys.exit(supervise("supervised_client", sys.argv[1:]))
"""


class Faulty(PairedFolders):
    """Comes to grief over s001, in the way that its argument says."""

    def __init__(self, images, masks, how):
        super().__init__(images, masks)
        self.how = how

    def probe(self, sample):
        if self.keys[sample] == "s001":
            self.fail()
        return super().probe(sample)

    def fail(self):
        if self.how == "crashed":
            os.abort()
        if self.how == "did not end":
            os.read(os.pipe()[0], 1)
        if self.how == "IndexError":
            raise IndexError("list index out of range")
        if self.how == "MemoryError":
            raise MemoryError
        assert not self.how


class FaultyWhenRead(Faulty):
    def probe(self, sample):
        return PairedFolders.probe(self, sample)

    def read(self, sample):
        if self.keys[sample] == "s001":
            self.fail()
        return super().read(sample)


def limit(how):
    """So long that nothing else takes it, however busy the machine is."""
    return {"read_timeout": 4} if how == "did not end" else {}


def run(*command, cwd=None, **environment):
    path = os.pathsep.join([str(TESTS), *(entry for entry in sys.path if entry)])
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True, text=True, timeout=100, check=False, cwd=cwd,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        (Faulty, "crashed"),
        (Faulty, "did not end"),
        (FaultyWhenRead, "IndexError"),
        (Faulty, "MemoryError"),
        # The next test has others that are lost when they are read.
        *(
            pytest.param(FaultyWhenRead, how, marks=pytest.mark.soak)
            for how in ("crashed", "did not end", "MemoryError")
        ),
        pytest.param(Faulty, "IndexError", marks=pytest.mark.soak),
    ],
)
def test_a_sample_over_which_a_process_is_lost_is_named(tmp_path, write_pairs, kind, how):
    source = kind(*write_pairs(4), how)
    with pytest.raises(SourceError, match=rf"images/s001\.png: .*{how}"):
        convert(source, tmp_path / "o", split="s", classes=3, workers=2, **limit(how))
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("how", ["crashed", "did not end"])
def test_a_sample_over_which_a_process_is_lost_can_be_skipped(tmp_path, write_pairs, how):
    folders = write_pairs(6)
    told = []
    report = convert(
        FaultyWhenRead(*folders, how),
        tmp_path / "o",
        split="s",
        classes=3,
        workers=2,
        **limit(how),
        on_error="skip",
        progress=lambda *step: told.append(step),
    )
    assert report.packed == 5
    assert [Path(name).name for name, _ in report.skipped] == ["s001.png"]
    assert how in report.skipped[0][1]
    assert all(done <= total for _, done, total in told)


def test_an_error_that_is_none_of_ours_is_kept_as_the_cause(tmp_path, write_pairs):
    source = Faulty(*write_pairs(3), "IndexError")
    with pytest.raises(SourceError, match="restore it, or take it out") as raised:
        convert(source, tmp_path / "o", split="s", workers=1)
    assert isinstance(raised.value.__cause__, IndexError)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("crash", "crashed the decoder (SIGABRT)"),
        ("hang", "did not end within"),
        ("open", f"(in {os.devnull}): reading it did not end"),
        ("kill", "SIGKILL"),
    ],
)
def test_a_command_names_the_file_and_ends_with_1(how, said):
    done = run("-c", SUPERVISE, how)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: cells/bad\\x1b.tif")
    assert said in done.stderr


def test_memory_has_a_bound():
    done = run("-c", SUPERVISE, "claim")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "MemoryError"


@pytest.mark.parametrize("how", ["end", "work"])
def test_a_command_that_ends_by_itself_keeps_its_status(how):
    assert run("-c", SUPERVISE, how).returncode == 7


@pytest.mark.parametrize("send", [os.kill, os.killpg])
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)]
)
def test_signals_reach_the_command_once(send, number, status):
    path = os.pathsep.join([str(TESTS), *(entry for entry in sys.path if entry)])
    process = subprocess.Popen(
        [sys.executable, "-c", SUPERVISE, "wait"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert process.stdout.readline() == "waiting\n"
    send(process.pid, number)
    told, errors = process.communicate(timeout=60)
    assert process.returncode == status, errors
    assert told == ("interrupted\n" if status == 130 else "")
    assert errors == ""


def test_a_command_does_not_outlive_the_one_that_watches_it():
    path = os.pathsep.join([str(TESTS), *(entry for entry in sys.path if entry)])
    process = subprocess.Popen(
        [sys.executable, "-c", SUPERVISE, "wait"],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert process.stdout.readline() == "waiting\n"
    process.kill()
    assert process.communicate(timeout=60) == ("", None)  # nobody holds the pipe any more


def test_what_lies_in_the_folder_is_not_run(tmp_path, write_pairs):
    write_pairs(3)
    for name in ("random", "numcodecs", "socket", "PIL", "hdf5plugin", "tempfile"):
        (tmp_path / f"{name}.py").write_text("open('run', 'a').write(__name__)")
    arguments = ["convert", "o.zarr", "--split", "s", "--images", "data/images"]
    arguments += ["--masks", "data/masks", "--workers", "2"]
    for command in (
        ["-P", "-c", "from zarrfeed_tools.cli import main; main()"],
        ["-m", "zarrfeed_tools"],
    ):
        done = run(*command, *arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert not (tmp_path / "run").exists()


def test_modules_of_the_user_come_last_and_only_where_the_source_needs_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    known = module_path(users_modules=False)
    monkeypatch.setattr(sys, "path", ["", str(tmp_path), *sys.path])
    assert module_path(users_modules=False) == known
    assert module_path(users_modules=True)[: len(known)] == known
    assert str(tmp_path) in module_path(users_modules=True)


def test_no_semaphore_needs_to_be_tracked(tmp_path, write_pairs):
    """Else, where a process is killed at the wrong moment, the tracker prints a traceback."""
    write_pairs(3)
    script = """
        from multiprocessing import resource_tracker
        from zarrfeed_convert import PairedFolders, convert
        convert(PairedFolders("data/images", "data/masks"), "o", split="s", workers=2)
        print(resource_tracker._resource_tracker._pid)
    """
    (tmp_path / "script.py").write_text(textwrap.dedent(script))
    assert run("script.py", cwd=tmp_path).stdout == "None\n"
