"""Masks of overlapping classes, made up: worker processes import this, and no Keras with it."""

from __future__ import annotations

import numpy as np

from zarrfeed_convert import Header, Source


class Overlapping(Source):
    """Images or volumes of several sizes, and masks of overlapping classes."""

    def __init__(self, sizes, classes=3, seed=0):
        rng = np.random.default_rng(seed)
        self.images = [rng.integers(0, 256, (*size, 3), np.uint8) for size in sizes]
        self.masks = [(rng.random((*size, classes)) < 0.4).astype(np.uint8) for size in sizes]

    @property
    def keys(self):
        return [f"s{number}" for number in range(len(self.images))]

    def describe(self):
        return {"kind": "overlapping"}

    def probe(self, sample):
        return Header.of_pair(self.images[sample].shape, "uint8", self.masks[sample].shape)

    def read(self, sample):
        return self.images[sample], self.masks[sample]
