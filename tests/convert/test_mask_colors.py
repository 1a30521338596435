"""A mask means what a viewer shows of it, or the message says how to choose."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from PIL import Image

from zarrfeed.errors import SourceError
from zarrfeed_convert import PairedFolders, convert


def packed_masks(out, split="train"):
    group = zarr.open_group(str(out / split), mode="r")
    return group["mask"][:]


def write_images(folder, names, shape=(6, 8)):
    folder.mkdir(parents=True)
    for name in names:
        Image.fromarray(np.full((*shape, 3), 9, np.uint8)).save(folder / f"{name}.png")


def test_masks_in_the_alpha_channel_pack_as_the_message_advises(tmp_path):
    write_images(tmp_path / "i", "ab")
    (tmp_path / "m").mkdir()
    drawn = np.zeros((6, 8, 4), np.uint8)
    drawn[2:4, 1:5, 3] = 255
    for name in "ab":
        Image.fromarray(drawn).save(tmp_path / "m" / f"{name}.png")
    folders, out = (tmp_path / "i", tmp_path / "m"), tmp_path / "o"
    with pytest.raises(SourceError, match="use --mask-map alpha"):
        convert(PairedFolders(*folders), out, split="train", workers=1)
    convert(PairedFolders(*folders, mask_map="alpha"), out, split="train", workers=1)
    np.testing.assert_array_equal(packed_masks(out), [drawn[:, :, 3] == 255] * 2)
