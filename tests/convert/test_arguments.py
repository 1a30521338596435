"""Arguments of the wrong kind are refused with what was needed, before any sample is read."""

from __future__ import annotations

import re

import numpy as np
import pytest

from zarrfeed.errors import SourceError
from zarrfeed_convert import convert, repack, verify

PAIR = (np.zeros((4, 6), np.uint8), np.zeros((4, 6), np.uint8))
SIZE = "size: needed (height, width) or (depth, height, width), like (256, 256), found "
FORMER_TILES = (
    "fit: needed one of (None, 'resize', 'crop', 'pad'), found 'tile'; tiles are asked for"
)
NO_OVERLAP = (
    "overlap: needed no such argument, found one; tiles are asked for by tile=(height, width)"
)
NAMES = "classes: needed names in their order, like ['sky', 'road'], or their number, found "


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"size": "16x16"}, SIZE + "str '16x16'"),
        ({"size": 16}, SIZE + "int 16"),
        ({"size": (16,)}, SIZE + "tuple (16,)"),
        ({"size": (4, 4, 4, 1)}, SIZE + "tuple (4, 4, 4, 1)"),
        ({"size": ("4", "6")}, "size: needed an int, found str '4'"),
        ({"size": (4, 6.0)}, "size: needed an int, found float 6.0"),
        ({"size": (4, 0)}, "size: needed at least 1, found 0"),
        ({"size": (4, 6), "fit": 3}, "fit: needed one of (None, 'resize', "),
        ({"fit": ["tile"]}, "fit: needed one of (None, 'resize', "),
        ({"fit": "tile"}, FORMER_TILES),
        ({"fit": "tile", "size": (4, 4), "overlap": 0}, NO_OVERLAP),
        ({"tile": (4, 4), "overlap": 2}, NO_OVERLAP),
        ({"codec": None}, "codec: needed one of ('auto', "),
        ({"chunk_samples": 2.5}, "chunk_samples: needed an int, found float 2.5"),
        ({"shard_size": "1MB"}, "shard_size: needed an int, found str '1MB'"),
        ({"order": True}, "order: needed one of ('shuffled', 'source'), found True"),
        ({"seed": "a"}, "seed: needed an int, found str 'a'"),
        ({"seed": True}, "seed: needed an int, found bool True"),
        ({"ignore": "255"}, "ignore: needed an int, found str '255'"),
        ({"ignore": 70_000}, "ignore: needed an id within 0 … 65535, found 70000"),
        ({"workers": "2"}, "workers: needed an int, found str '2'"),
        ({"read_timeout": "2"}, "read_timeout: needed more than 0 seconds, found str '2'"),
        ({"on_error": 1}, "on_error: needed one of ('stop', 'skip'), found 1"),
        ({"classes": 1.5}, NAMES + "float 1.5"),
        ({"classes": True}, NAMES + "bool True"),
        ({"classes": [0, 1]}, NAMES + "list [0, 1]"),
        ({"classes": {0: "sky"}}, NAMES + "dict {0: 'sky'}"),
        ({"classes": {"sky"}}, NAMES + "set {'sky'}"),
        ({"split": 3}, "split: needed a plain name like 'train' (letters, digits, _ . -), found 3"),
    ],
)
def test_an_argument_of_another_kind_is_refused(wrong, said, tmp_path):
    def samples():
        pytest.fail("a sample was read")
        yield PAIR

    taken = [PAIR] if "classes" in wrong else samples()  # a source may name the classes
    with pytest.raises(SourceError, match="^" + re.escape(said)):
        convert(taken, "o.zarr", **{"split": "t", **wrong})
    assert not list(tmp_path.iterdir())


def test_lists_and_numbers_of_numpy_are_taken():
    convert([PAIR], "o.zarr", split="t", size=[2, 2], fit="crop", classes=np.uint8(3), workers=1)
    again = convert([PAIR], "o.zarr", split="t", size=(2, 2), fit="crop", classes=3, workers=1)
    assert again.status == "already packed"


@pytest.mark.parametrize(
    "call", [verify, lambda path, **wrong: repack(path, "p", split="t", **wrong)]
)
def test_all_commands_check_them(call):
    convert([PAIR], "o.zarr", split="t", workers=1)
    with pytest.raises(SourceError, match=r"^workers: needed an int, found float 1\.5"):
        call("o.zarr/t", workers=1.5)


def test_a_message_on_sizes_speaks_of_volumes_for_volumes():
    volumes = [{"image": np.zeros((2, 3, width, 1), np.uint8)} for width in (6, 7)]
    with pytest.raises(SourceError, match="use --size DxHxW --fit resize"):
        convert(volumes, "o.zarr", split="t")
    with pytest.raises(SourceError, match="--fit crop needs a --size DxHxW to fit to"):
        convert(volumes, "o.zarr", split="t", fit="crop")
    with pytest.raises(SourceError, match="--fit crop needs a --size HxW to fit to"):
        convert([PAIR], "o.zarr", split="t", fit="crop")
