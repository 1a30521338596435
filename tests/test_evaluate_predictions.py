"""What ``zarrfeed.predict`` writes can be evaluated as it is."""

from __future__ import annotations

import numpy as np
import pytest

from cases import CaseArrays, pair
from prediction_stores import NAMES, plain_scores
from zarrfeed import GridPatches, SplitReader, evaluate, open_split, predict
from zarrfeed_convert import convert


class Nearest:
    """A model that scores a class by how near a pixel's brightness is to that of the class."""

    def __init__(self, channels):
        self.channels = channels

    def predict_on_batch(self, x):
        first = np.asarray(x, np.float32)[..., :1] / 255
        if self.channels == 1:
            return first
        return 1 - np.abs(first - np.linspace(0, 1, self.channels, dtype=np.float32))


@pytest.mark.parametrize(("tile", "size"), [((8, 8), (6, 10)), (None, (8, 8))])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("written", ["argmax", "probabilities"])
def test_what_predict_writes_can_be_evaluated(tmp_path, tile, size, channels, written):
    classes = max(channels, 2)
    sizes = [(13, 20), (9, 9), (17, 5)] if tile else [(11, 12)] * 3
    cases = {f"c{place}": pair(one, place, classes=classes) for place, one in enumerate(sizes)}
    options = {"tile": tile} if tile else {}
    source = CaseArrays(cases) if tile else list(map(tuple, map(dict.values, cases.values())))
    convert(source, tmp_path / "t.zarr", split="val", workers=1, classes=NAMES[:classes], **options)
    predict(Nearest(channels), tmp_path / "t.zarr/val", tmp_path / "p.zarr",
            GridPatches(size), classes=written)  # fmt: skip
    found = evaluate(tmp_path / "t.zarr", tmp_path / "p.zarr")
    # Without overlaps, patches are predicted as whole images are.
    if tile is None:
        with SplitReader(open_split(tmp_path / "t.zarr/val")) as reader:
            stored = reader.read(range(3))
        cases = {key: {name: stored[name][row] for name in stored}
                 for row, key in enumerate(found.keys)}  # fmt: skip
    assert sorted(found.keys) == sorted(cases)
    for key, dice in zip(found.keys, found.dice, strict=True):
        scores = Nearest(channels).predict_on_batch(cases[key]["image"])
        ids = scores.argmax(axis=-1) if channels > 1 else (scores[..., 0] > 0.5).astype("u1")
        right = plain_scores(cases[key]["mask"], ids, classes)[0]
        assert np.allclose(dice, right, equal_nan=True)
