"""``zarrfeed convert`` packs, explains itself, and ends with the right status."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import imagecodecs
import numpy as np
import pytest
import zarr
from typer.testing import CliRunner

from folders import contents
from zarrfeed import __version__
from zarrfeed.errors import SourceError
from zarrfeed_tools.cli import app
from zarrfeed_tools.progress import show_progress

COMMAND = [sys.executable, "-c", "from zarrfeed_tools.cli import main; main()"]


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    """Four pairs below the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    rng = np.random.default_rng(0)
    for name, shape in (("images", (8, 6, 3)), ("masks", (8, 6))):
        (tmp_path / name).mkdir()
        for sample in range(4):
            values = rng.integers(0, 3, shape, np.uint8)
            values.flat[:3] = [0, 1, 2]
            suffix = "_m" if name == "masks" else ""
            (tmp_path / name / f"{sample}{suffix}.png").write_bytes(imagecodecs.png_encode(values))
    return tmp_path


def arguments(*more, out="o.zarr"):
    base = ["convert", out, "--split", "train", "--images", "images", "--masks", "masks/*.png"]
    return [*base, "--mask-suffix", "_m", "--workers", "1", *more]


def invoke(*arguments):
    return CliRunner().invoke(app, list(arguments))


def run(*arguments):
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=100, check=False
    )


def test_it_packs_and_shows_what():
    result = invoke(*arguments("--classes", "sky,tree,road"))
    assert result.exit_code == 0, result.output
    assert "Packed 4 pairs into 4 samples" in result.stdout
    assert re.search(r"image +4×8×6×3 +uint8", result.stdout)
    assert re.search(r"road +2 +\d+ +\d+\.\d\d%", result.stdout)
    assert "packing: 4 of 4 samples" in result.stderr
    assert zarr.open_array("o.zarr/train/image").shape == (4, 8, 6, 3)


def test_plain_progress_has_a_rate_once_there_is_time_to_measure_one(monkeypatch, capsys):
    clock = iter([0.0, 0.4, 2.0])
    monkeypatch.setattr("zarrfeed_tools.progress.time.monotonic", lambda: next(clock))
    with show_progress() as tell:
        for done in (0, 50, 100):
            tell("packing", done, 100)
    assert capsys.readouterr().err.splitlines() == [
        "packing: 50 of 100 samples",
        "packing: 100 of 100 samples, 50/s",
    ]


def test_packing_again_says_so():
    invoke(*arguments())
    result = invoke(*arguments())
    assert result.exit_code == 0
    assert "already packed: nothing was changed" in result.stdout


def test_json_is_all_that_is_printed():
    result = invoke(*arguments("--json"))
    report = json.loads(result.stdout)
    assert report["status"] == "packed"
    assert report["found"] == report["packed"] == 4
    assert [field["name"] for field in report["fields"]] == ["image", "mask"]
    assert {"what", "value", "reason"} == set(report["decisions"][0])


def test_a_dry_run_gives_reasons_and_writes_nothing(folders):
    result = invoke(*arguments("--dry-run"))
    assert result.exit_code == 0
    assert "nothing was written" in result.stdout
    for what in ("classes", "size", "chunk rows", "shard rows", "image codec", "mask codec"):
        assert what in result.stdout
    assert not (folders / "o.zarr").exists()


def test_a_dry_run_shows_every_class_with_its_share_and_no_empty_columns(folders):
    for path in (folders / "masks").iterdir():
        path.write_bytes(imagecodecs.png_encode(np.arange(48, dtype=np.uint8).reshape(8, 6) // 4))
    said = invoke(*arguments("--dry-run")).stdout
    assert re.search(r"^ *11 +11 +8\.33% *$", said, re.M)
    assert "pixels" not in said
    assert "stored" not in said
    assert "ratio" not in said
    said = invoke(*arguments("--dry-run", "--ignore", "11")).stdout
    assert re.search(r"^ *\(ignored\) +11 +8\.33% *$", said, re.M)
    named = invoke(*arguments("--dry-run", "--ignore", "11", "--classes", "11")).stdout
    assert re.search(r"^ *10 +10 *$", named, re.M)
    assert "share" not in named


def test_every_option_reaches_the_store():
    more = ["--size", "4x4", "--fit", "crop", "--mask-map", "2=1", "--codec", "zstd"]
    more += ["--chunk-samples", "2", "--shard-size", "0.1KiB", "--order", "source", "--seed", "7"]
    more += ["--color", "grey", "--ignore", "9", "--classes", "a,b"]
    assert invoke(*arguments(*more)).exit_code == 0
    image = zarr.open_array("o.zarr/train/image")
    assert (image.shape, image.chunks, image.shards) == ((4, 4, 4, 1), (2, 4, 4, 1), (4, 4, 4, 1))
    described = zarr.open_group("o.zarr/train").attrs["zarrfeed"]
    assert described["packed"]["settings"] == {
        "size": [4, 4],
        "fit": "crop",
        "overlap": 0,
        "codec": "zstd",
        "chunk_samples": 2,
        "shard_size": 102,
        "order": "source",
        "seed": 7,
    }
    assert described["source"]["mask_map"] == "2=1"
    assert described["source"]["color"] == "grey"


def test_names_that_differ_are_told_and_names_of_other_splits_refused(folders):
    command = ["convert", "o.zarr", "--split", "s", "--images", "images", "--masks", "masks"]
    result = invoke(*command, "--workers", "1")
    assert "names: 4 pairs differ: such as 0 and 0_m: compared without 'm'" in result.stdout
    for where, name in (("images", "train_{}"), ("masks", "val_{}")):
        for path in (folders / where).iterdir():
            path.rename(path.with_stem(name.format(path.stem[0])))
    result = invoke(*command, "--overwrite")
    assert isinstance(result.exception, SourceError)
    assert "found the image 'train_0' and its mask 'val_0', which differ" in str(result.exception)


def test_binary_masks_are_announced(folders):
    for path in (folders / "masks").iterdir():
        path.write_bytes(imagecodecs.png_encode(np.eye(8, 6, dtype=np.uint8) * 255))
    assert "255 means 1 (foreground)" in invoke(*arguments()).stdout


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--fit", "crop"], "--size"),
        (["--size", "12"], "256x512"),
        (["--tile", "256"], "found '256'; did you mean 256x256?"),
        (["--shard-size", "big"], "256MiB"),
        (["--codec", "gzip"], "gzip"),
        (["--workers", "0"], "workers"),
        (["--fit", "shrink", "--size", "4x4"], "'shrink' is not one of 'resize', 'crop', 'pad'"),
        (["--fit", "tile", "--size", "4x4"], "use --tile 4x4"),
        (["--tile", "4x4", "--overlap", "3"], "do not overlap"),
        (["--tile", "4x5x6", "--overlap", "3"], "use --tile 4x5x6 without it"),
        (["--tile", "4x4", "--size", "4x4"], "leave out --size and --fit"),
        (["--engine", "dask"], "--scheduler"),
        (["--scheduler", "tcp://127.0.0.1:1"], "--engine dask"),
        (["--engine", "dask", "--scheduler", "tcp://127.0.0.1:1"], "--workers"),
        (["--unknown"], "--unknown"),
    ],
)
def test_wrong_usage_ends_with_2(folders, more, said):
    result = invoke(*arguments(*more))
    assert result.exit_code == 2
    assert said in result.output
    assert not (folders / "o.zarr").exists()


def test_a_wrong_choice_is_said_without_words_of_a_validator():
    result = invoke(*arguments("--codec", "gzip"))
    assert "Invalid value for '--codec': 'gzip' is not one of 'auto', 'raw'" in result.output


def test_masks_that_only_the_ignored_id_makes_larger_are_announced(folders):
    said = "the ignored id 300 is above 255: masks take twice the memory of uint8; 255 is free"
    dry = json.loads(invoke(*arguments("--ignore", "300", "--dry-run", "--json")).stdout)
    about = {decision["what"]: decision for decision in dry["decisions"]}["mask dtype"]
    assert (about["value"], about["reason"].startswith(said)) == ("uint16", True)
    assert said in invoke(*arguments("--ignore", "300")).stdout
    advised = arguments("--ignore", "255", "--mask-map", "300=255", out="a.zarr")
    assert "mask dtype" not in invoke(*advised).stdout
    assert zarr.open_array("a.zarr/train/mask").dtype == np.uint8
    dry = invoke(*arguments("--ignore", "300", "--classes", "256", "--dry-run", out="b.zarr"))
    assert "is above 255" in dry.stdout
    assert "is free" not in dry.stdout


def test_a_glob_that_the_shell_expanded_is_told_from_other_extra_arguments():
    files = [f"images/{sample}.png" for sample in range(4)]
    more = ["--split", "train", "--masks", "masks", "--images", *files]
    for arguments in (["convert", "o.zarr", *more], ["convert", *more, "o.zarr"]):
        result = invoke(*arguments)
        assert result.exit_code == 2
        assert "got 3 extra arguments, such as images/" in result.output
        assert "put it in quotes: --images 'images/*.png'" in result.output
    result = invoke("convert", "o.zarr", "more", *more[:-4], "images")
    assert result.exit_code == 2
    assert "got 1 extra argument, such as more; the only argument is OUT.zarr" in result.output


def test_what_is_skipped_is_said_counted_and_recorded(folders):
    (folders / "images/1.png").write_bytes(b"no image")
    (folders / "masks/3_m.png").unlink()
    result = invoke(*arguments("--classes", "3", "--on-error", "skip"))
    assert result.exit_code == 0, result.output
    assert "Packed 2 pairs into 2 samples" in result.stdout
    assert "skipped 2 of 4:" in result.stdout
    assert "images/1.png: cannot be decoded" in result.stdout
    assert "this image has no mask" in result.stdout
    recorded = zarr.open_group("o.zarr/train").attrs["zarrfeed"]["packed"]
    assert (recorded["found"], len(recorded["skipped"])) == (4, 2)
    report = json.loads(invoke(*arguments("--classes", "3", "--json")).stdout)
    assert report["found"] == report["packed"] + len(report["skipped"])


def test_a_run_that_was_stopped_goes_on_or_begins_anew(folders):
    layout = ("--classes", "3", "--order", "source", "--chunk-samples", "1", "--shard-size", "200B")
    layout += ("--codec", "raw")  # no trial: the file is decoded when its turn comes
    last = folders / "masks/3_m.png"
    good = last.read_bytes()
    last.write_bytes(good[:-20])
    done = run(*arguments(*layout))
    assert done.returncode == 1
    assert "3 shards are packed and kept: the same command resumes from there" in done.stderr
    last.write_bytes(good)
    again = run(*arguments(*layout))
    assert again.returncode == 0
    assert "packing: 4 of 4" in again.stderr
    assert invoke(*arguments(*layout, "--overwrite", "--restart")).exit_code == 0


def test_tiles_and_their_padding_are_recorded(folders):
    result = invoke(*arguments("--tile", "4x4"))
    assert result.exit_code == 0
    assert "finding classes: 4 of 4 cases" in result.stderr
    assert "packing: 16 of 16 tiles" in result.stderr
    assert "Packed 4 cases as 16 tiles" in result.stdout
    described = zarr.open_group("o.zarr/train").attrs["zarrfeed"]
    assert described["packed"]["settings"]["tile"] == [4, 4]
    assert (described["cases"], described["samples"]) == (4, 4 * 4)
    assert described["packed"]["coverage"] == {"lost": 0, "repeated": 0, "padded": 4 * (64 - 48)}


def test_help_speaks_only_of_tiles_of_now():
    said = invoke("convert", "--help").stdout
    assert "--tile" in said
    assert "--overlap" not in said
    assert "resize|crop|pad" in said


def test_overwriting_is_asked_for_by_an_option():
    invoke(*arguments())
    refused = invoke(*arguments("--classes", "sky,tree,road"))
    assert "--overwrite" in str(refused.exception)
    result = invoke(*arguments("--classes", "sky,tree,road", "--overwrite"))
    assert result.exit_code == 0, result.output
    assert zarr.open_group("o.zarr").attrs["zarrfeed"]["classes"] == ["sky", "tree", "road"]


def test_bad_input_is_an_error_of_the_package():
    result = invoke(*arguments("--classes", "a,b"))
    assert isinstance(result.exception, SourceError)


def test_the_real_command_ends_with_1_and_a_line_on_stderr(folders):
    result = run(*arguments("--classes", "a,b", "--json"))
    assert result.returncode == 1
    assert result.stdout == ""
    assert re.search(r"^error: masks/\d_m.png: .*found the value 2; use", result.stderr, re.M)
    assert "Traceback" not in result.stderr
    assert not (folders / "o.zarr").exists()


def test_the_real_command_packs_with_processes():
    result = run(*arguments("--workers", "2", "--json"))
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["packed"] == 4


def test_an_unwritable_place_is_a_line_not_a_traceback(folders):
    (folders / "file").touch()
    result = run(*arguments(out="file/o.zarr"))
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("error: ")


def test_ctrl_c_ends_with_130_and_leaves_nothing(folders):
    noise = np.random.default_rng(0).integers(0, 255, (600, 600, 3), np.uint8)
    image = imagecodecs.png_encode(noise)
    mask = imagecodecs.png_encode(np.zeros((600, 600), np.uint8))
    for sample in range(400):
        (folders / "images" / f"x{sample}.png").write_bytes(image)
        (folders / "masks" / f"x{sample}_m.png").write_bytes(mask)
    for sample in range(4):
        (folders / "images" / f"{sample}.png").unlink()
        (folders / "masks" / f"{sample}_m.png").unlink()
    process = subprocess.Popen(
        [*COMMAND, *arguments("--workers", "2", "--classes", "2")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not (folders / "o.zarr/train.partial/image/c").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "interrupted: nothing was written" in said
    assert "Traceback" not in said
    assert not (folders / "o.zarr").exists()


def test_the_version_is_shown():
    assert invoke("--version").stdout.strip() == f"zarrfeed {__version__}"


def test_the_help_teaches(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    said = invoke("convert", "--help").stdout
    assert "globs must be quoted" in said
    assert "bilinear" in said


def test_the_examples_of_the_help_can_be_copied(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = [line.strip() for line in invoke("convert", "--help").stdout.splitlines()]
    begins = [at for at, line in enumerate(lines) if line.startswith("zarrfeed convert")]
    assert len(begins) == 7
    for at in begins:
        while lines[at].endswith("\\"):
            at += 1
            assert lines[at].startswith("--")
        assert not lines[at + 1]


def test_names_that_are_no_utf8_are_said(folders, monkeypatch):
    """After a night's work, no traceback because of the name of a file that was skipped."""
    monkeypatch.setenv("PYTHONIOENCODING", "utf-8:strict")
    odd = os.fsencode(folders) + b"/images/b\xff.png"
    with open(odd, "wb") as image:
        image.write(b"no image")
    with open(os.fsencode(folders) + b"/masks/b\xff_m.png", "wb") as mask:
        mask.write((folders / "masks/0_m.png").read_bytes())
    done = run(*arguments("--on-error", "skip"))
    assert done.returncode == 0, done.stderr
    assert "images/b\\udcff.png: cannot be decoded" in done.stdout


def test_a_step_of_nothing_is_no_mistake(capsys):
    with show_progress() as follow:
        follow("packing", 0, 0)
    assert "packing: 0 of 0 samples" in capsys.readouterr().err


def shell(command, *arguments, **options):
    """Run the command as a shell does, with streams that go where none should."""
    script = f'"$@" {command}'
    return subprocess.run(
        ["sh", "-c", script, "sh", *COMMAND, *arguments],
        capture_output=True, text=True, timeout=100, check=False, **options,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("streams", "status", "said"),
    [
        (">/dev/full", 1, "No space left on device: 'standard output' (look up: disk-space)"),
        ("2>/dev/full", 0, ""),
        ("<&- >&- 2>&-", 0, ""),
    ],
)
def test_output_that_goes_nowhere_does_not_harm_what_is_packed(folders, streams, status, said):
    done = shell(streams, *arguments())
    assert done.returncode == status, done.stderr
    assert done.stderr.rstrip().endswith(said)
    invoke(*arguments(out="expected.zarr"))
    assert contents(folders / "o.zarr") == contents(folders / "expected.zarr")


def test_a_folder_that_is_gone_is_said():
    script = 'mkdir gone; cd gone; rmdir ../gone; "$@"'
    for command in (arguments(), ["inspect", "o.zarr"], ["verify", "o.zarr"]):
        done = subprocess.run(
            ["sh", "-c", script, "sh", *COMMAND, *command],
            capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert "is relative to the current folder, which was removed" in done.stderr
        assert "Traceback" not in done.stderr
