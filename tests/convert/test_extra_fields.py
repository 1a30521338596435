"""Fields besides image and mask: how they are named on the command line and in Python."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from zarrfeed.errors import SourceError
from zarrfeed.store.schema import DESCRIPTIVE
from zarrfeed_convert import OptionError, open_source
from zarrfeed_convert.extra_fields import (
    ROLES,
    describe_fields,
    fields_of_text,
    moved_fields,
    parse_fields,
)
from zarrfeed_convert.source import Field
from zarrfeed_tools.cli import app

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]*", fullmatch=True).filter(
    lambda name: name not in {"image", "mask", *DESCRIPTIVE}
)
PLACES = st.text(min_size=1).map(str.strip).filter(bool)
FIELDS = st.dictionaries(NAMES, st.tuples(st.sampled_from(sorted(ROLES)), PLACES))


@given(FIELDS)
def test_what_is_written_is_read_again_in_its_order(fields):
    said = {name: f"{role}:{place}" for name, (role, place) in fields.items()}
    parsed = parse_fields(said)
    assert [(extra.field, extra.place) for extra in parsed] == [
        (Field(name, role), place) for name, (role, place) in fields.items()
    ]
    assert list(describe_fields(parsed).items()) == list(said.items())
    assert fields_of_text(f"{name}={text}" for name, text in said.items()) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("depth", "needed NAME=ROLE:PLACE, each name once, like depth=target:.*found 'depth'"),
        ("depth=data/depth", "field depth: needed ROLE:PLACE.*found 'data/depth'$"),
        (
            "depth=targte:d",
            "role image .*, mask .* or target .*found 'targte:d'; did you mean 'target'",
        ),
        ("depth=target:", "field depth: needed ROLE:PLACE.*found 'target:'"),
        ("mask=mask:d", "needed names of fields like 'depth' .*none of .*mask.*found 'mask'"),
        ("digest=mask:d", "found 'digest'; rename it"),
        ("a-b=mask:d", "found 'a-b'; rename it"),
    ],
)
def test_what_is_no_field_is_refused(text, said):
    with pytest.raises(SourceError, match=said):
        fields_of_text([text])


def test_a_name_is_given_once():
    with pytest.raises(SourceError, match="each name once"):
        fields_of_text(["a=mask:d", "a=target:e"])


def test_in_python_fields_are_a_mapping():
    with pytest.raises(SourceError, match=r"needed names and places, like \{'depth': 'target:"):
        parse_fields(["depth=target:d"])


@pytest.mark.parametrize("moved", [{"deep": "target:b"}, {"depth": "image:b"}])
def test_only_what_was_packed_can_have_moved(moved):
    with pytest.raises(SourceError, match=r"the packed ones are depth=target:a$"):
        moved_fields({"depth": "target:a"}, moved)


def test_formats_that_take_no_fields_say_which_do(tmp_path):
    with pytest.raises(OptionError, match=r"camvid: needed images.*alone.*formats take: paired"):
        open_source("camvid", {"images": str(tmp_path), "fields": {"depth": "target:d"}})
    arguments = ["convert", "o.zarr", "--split", "t", "--format", "camvid", "--images", "i"]
    done = CliRunner().invoke(app, [*arguments, "--field", "d=target:d"], env={"COLUMNS": "200"})
    assert done.exit_code == 2
    assert "which these formats take" in done.output
    listed = CliRunner().invoke(app, ["formats"], env={"COLUMNS": "200"}).output
    assert "--field" in listed
