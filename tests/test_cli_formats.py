"""``zarrfeed formats`` explains what ``zarrfeed convert --format`` reads."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import imagecodecs
import numpy as np
import pytest
import zarr
from typer.testing import CliRunner

from zarrfeed.errors import SourceError
from zarrfeed_convert import FORMATS, OptionError, factory_of, open_source, parameters_of
from zarrfeed_tools.cli import app
from zarrfeed_tools.docstrings import read_docstring
from zarrfeed_tools.explanation import explain
from zarrfeed_tools.source_arguments import arrangement

COMMAND = [sys.executable, "-c", "from zarrfeed_tools.cli import main; main()"]


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    """Three pairs, as files and as arrays."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (3, 8, 6, 3), np.uint8)
    masks = rng.integers(0, 3, (3, 8, 6), np.uint8)
    masks[:, 0, :3] = [0, 1, 2]
    np.savez(tmp_path / "cells.npz", x=images, y=masks)
    for folder, values, suffix in (("images", images, ""), ("masks", masks, "_m")):
        (tmp_path / folder).mkdir()
        for sample, value in enumerate(values):
            path = tmp_path / folder / f"{sample}{suffix}.png"
            path.write_bytes(imagecodecs.png_encode(value))


def invoke(*arguments, status=0):
    done = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})
    assert done.exit_code == status, done.output
    return re.sub(r"\s+", " ", re.sub(r"[│╭╮╰╯─]", "", done.output))


def listed():
    return json.loads(CliRunner().invoke(app, ["formats", "--json"]).stdout)


def convert(*more, status=0):
    base = ["convert", "o.zarr", "--split", "train", "--workers", "1"]
    return invoke(*base, *more, status=status)


def arrays_of(path):
    with np.load(path) as file:
        return dict(file)


def split():
    return zarr.open_group("o.zarr/train", mode="r")


def test_all_formats_are_listed_with_what_they_need():
    said = invoke("formats")
    for known in FORMATS.values():
        assert f"{known.name} {known.summary}"[:40] in said
    rows = {row["name"]: row for row in listed()}
    assert list(rows) == list(FORMATS)
    assert rows["paired"] == {
        "name": "paired",
        "summary": FORMATS["paired"].summary,
        "extra": "",
        "missing": "",
        "fields": True,
    }
    assert rows["coco"]["extra"] == "coco"


def test_a_package_that_is_not_there_is_named_with_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for module in ("parquet", "arrow_values", "parquet_files", "row_groups", "table_column"):
        loaded = f"zarrfeed_convert.sources.records.{module}"
        monkeypatch.delitem(sys.modules, loaded, raising=False)
    hint = (
        "needs the package pyarrow, which is not installed: pip install '.[parquet]' in a clone of "
        "zarrfeed (look up: missing-package)"
    )
    rows = {row["name"]: row for row in listed()}
    assert rows["parquet"]["missing"] == hint
    assert not rows["paired"]["missing"]
    assert "no: needs the package" in invoke("formats")
    for command in (["formats", "parquet"], ["convert", "o", "--split", "s", "--format", "parquet",
                                             "--images", "a.parquet"]):  # fmt: skip
        done = CliRunner().invoke(app, command)
        assert isinstance(done.exception, SourceError)
        assert str(done.exception) == f"format parquet: {hint}"


def test_a_format_is_explained_for_the_command_line():
    said = invoke("formats", "npz")
    assert (
        "zarrfeed convert OUT.zarr --split train \\ --format npz \\ --images IMAGES \\ "
        "[--masks MASKS]" in said
    )
    assert "-o channels_first= no " in said
    assert "--images required" in said
    assert "--mask-map" in said
    assert "'#FF0000=1,*=0'" in said
    assert "MaskMap" not in said
    assert "`" not in said
    paired = invoke("formats", "paired")
    assert "--image-suffix" in paired
    assert "-o level= 0 Resolution at which to read" in paired
    assert "-o image" not in paired
    assert "--format" not in paired


def test_an_explanation_is_there_for_machines():
    explained = json.loads(CliRunner().invoke(app, ["formats", "npz", "--json"]).stdout)
    assert explained["name"] == "npz"
    options = {name: option for option in explained["options"] for name in option["names"]}
    assert options["images"]["flags"][0] == "--images"
    assert options["images"]["defaults"][0] is None
    assert options["channels_first"]["defaults"] == [False]
    assert list(options) == list(parameters_of("npz"))


def test_a_format_says_what_is_the_place_of_a_further_field():
    for name, said in {"paired": "a folder or a glob", "parquet": "ROLE:COLUMN"}.items():
        option = next(each for each in explain(name).options if each.names == ("fields",))
        assert option.flags == ("--field",)
        assert said in option.help
        assert "depth=target:" in option.help
        assert "{" not in option.help
        assert "[--field NAME=ROLE:PLACE …]" in explain(name).usage


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_explains_all_that_it_is_told(name):
    try:
        factory_of(name)
    except SourceError as error:
        pytest.skip(str(error))
    explained = explain(name)
    assert all(explained.about)
    told = [option for option in explained.options for _ in option.names]
    assert sorted(name for option in explained.options for name in option.names) == sorted(
        parameters_of(name)
    )
    assert all(option.help for option in told)
    for parameter in parameters_of(name).values():
        if parameter.default is not parameter.empty:
            known = isinstance(parameter.default, str | int | float | bool)
            assert known or parameter.name == "fields"
    assert {"images", "masks", "color", "mask_map"} <= set(parameters_of(name))


def test_a_format_packs_by_its_options():
    convert("--format", "npz", "--images", "cells.npz:x", "--masks", "cells.npz:y")
    source = split().attrs["zarrfeed"]["source"]
    assert source["kind"] == "npz"
    arrays = arrays_of("cells.npz")
    order = [int(re.search(r"(\d+)\0*$", bytes(k).decode())[1]) for k in split()["key"][:]]
    np.testing.assert_array_equal(split()["image"][:], arrays["x"][order])
    np.testing.assert_array_equal(split()["mask"][:], arrays["y"][order])


def test_options_are_read_as_what_they_are_and_common_ones_apply():
    arrays = arrays_of("cells.npz")
    np.savez("first.npz", x=np.moveaxis(arrays["x"], 3, 1), y=arrays["y"])
    more = ["-o", "channels-first=yes", "--color", "grey", "--mask-map", "2=1"]
    convert("--format", "npz", "--images", "first.npz:x", "--masks", "first.npz:y", *more)
    source = split().attrs["zarrfeed"]["source"]
    assert source["channels_first"] is True
    assert source["mask_map"] == "2=1"
    assert split()["image"].shape == (3, 8, 6, 1)
    assert split()["mask"][:].max() == 1


def test_the_suffixes_are_options_of_paired_folders_by_either_name():
    pairs = ["--images", "images", "--masks", "masks"]
    convert(*pairs, "--mask-suffix", "_m")
    digest = split()["digest"][:].tolist()
    invoke("convert", "p.zarr", "--split", "train", "--format", "paired", *pairs,
           "--mask-suffix", "_m", "--workers", "1")  # fmt: skip
    assert zarr.open_group("p.zarr/train")["digest"][:].tolist() == digest


ARRAYS = ["--format", "npz", "--images", "cells.npz:x", "--masks", "cells.npz:y"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--images", "i", "--format", "coco"], "format coco: needed --masks"),
        (["--images", "i", "--format", "png"], "needed one of paired, camvid, cityscapes"),
        ([*ARRAYS, "--mask-suffix", "_m"], "--mask-suffix: the format npz has no such option; "
         "zarrfeed formats npz lists those it has"),
        ([*ARRAYS, "--image-suffix", ""], "--image-suffix: the format npz has no such option"),
        ([*ARRAYS, "-o", "axis=0"], "format npz: there is no option 'axis'; its options are"),
        (["--images", "i", "--format", "ocoo"], "found 'ocoo'; did you mean 'coco'?"),
        (["--images", "i", "--format", "OME_Zarr"], "did you mean 'ome-zarr'?"),
        ([*ARRAYS, "-o", "one-hit=yes"], "no option 'one_hit'; its options are axes, "
         "keys, channels_first, one_hot; did you mean 'one_hot'?"),
        ([*ARRAYS, "-o", "mask_mpa=1=0"], "did you mean '--mask-map'?"),
        ([*ARRAYS, "-o", "axis"], "needed NAME=VALUE, each name once, found 'axis'"),
        ([*ARRAYS, "-o", "one_hot=no", "-o", "one-hot=yes"], "each name once"),
        ([*ARRAYS, "-o", "one_hot=maybe"], "option one_hot: needed yes or no, found 'maybe'"),
        ([*ARRAYS, "-o", "color=rgb"], "use --color"),
        ([*ARRAYS, "--instances", "keep"], "format npz: needed no --instances, found 'keep'; these "
         "formats have this option: coco"),
        ([*ARRAYS, "-o", "instances=keep"], "use --instances"),
        ([*ARRAYS, "-o", "mask-map=1=0"], "use --mask-map"),
        (["--images", "images", "--masks", "masks", "-o", "mask_suffix=_m"], "use --mask-suffix"),
        (["--format", "npz", "--images", "cells.npz", "more.npz"], "put it in quotes: --images"),
    ],
)  # fmt: skip
def test_wrong_usage_ends_with_2_and_says_what_is_right(tmp_path, arguments, said):
    assert said in convert(*arguments, status=2)
    assert not (tmp_path / "o.zarr").exists()


def test_a_format_that_does_not_exist_cannot_be_explained():
    assert "needed one of paired, camvid" in invoke("formats", "png", status=2)
    assert "did you mean 'parquet'?" in invoke("formats", "paquet", status=2)


def test_a_misspelt_choice_of_an_option_is_recognised():
    with pytest.raises(SourceError, match="found 'fiel'; did you mean 'file'"):
        open_source("coco", {"images": "i", "masks": "a.json", "order": "fiel"})
    with pytest.raises(SourceError, match="found 'x'; choose one"):
        open_source("coco", {"images": "i", "masks": "a.json", "order": "x"})


def test_data_that_are_not_there_end_with_1():
    command = [*COMMAND, "convert", "o.zarr", "--split", "s", "--format", "npz",
               "--images", "none.npz:x", "--masks", "none.npz:y"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "none.npz" in done.stderr.splitlines()[-1]


def test_wrong_options_are_errors_of_their_own_kind_in_python():
    for arguments in ({"masks": "a"}, {"images": "a", "masks": "b", "axis": 1}):
        with pytest.raises(OptionError):
            open_source("npz", arguments)
    with pytest.raises(OptionError, match="needed one of"):
        open_source("png", {})


def test_a_docstring_is_taken_apart():
    found = read_docstring(
        """Read ``x`` files.

        More
        of it.

        Parameters
        ----------
        a, b
            Both.

            And more.
        *rest : int
            Others.

        Returns
        -------
        int
            Not asked for.

        Examples
        --------
        >>> f(1)  # doctest: +SKIP
        2
        """
    )
    assert found.summary == "Read ``x`` files."
    assert found.paragraphs == ("More of it.",)
    assert found.parameters == ((("a", "b"), "Both. And more."), (("rest",), "Others."))
    assert found.of("b") == "Both. And more."
    assert found.of("c") == ""
    assert found.examples == ">>> f(1)\n2"


def test_the_help_of_convert_teaches_formats():
    said = invoke("convert", "--help")
    assert "--format parquet --images 'data/train-*.parquet'" in said
    assert "zarrfeed formats lists all" in said


@pytest.mark.parametrize("flag", [("--as", "volumes"), ("--geometry", "warn")])
def test_options_of_volumes_are_refused_where_a_format_has_none(flag):
    said = convert("--images", "images", *flag, status=2)
    assert f"format paired: needed no {flag[0]}, found '{flag[1]}'" in said
    name = {"--as": "as", "--geometry": "geometry"}[flag[0]]
    assert f"use {flag[0]}" in convert("--images", "images", "-o", f"{name}={flag[1]}", status=2)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        (("64x64x64", None), "volumes"),
        (("64x64", "1x2x3"), "slices"),
        (("AUTO", None), "volumes"),
        ((None, "32X64X64"), "volumes"),
        ((None, "64x64"), "slices"),
        ((None, None), None),
        ((), None),
    ],
)
def test_the_size_of_tiles_or_samples_says_what_a_sample_is(sizes, expected):
    assert arrangement(*sizes) == expected
