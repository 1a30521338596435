"""A transform of a module that cannot be copied; processes import it, and no Keras with it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pipelines

if TYPE_CHECKING:
    import numpy as np

    from pipelines import Pair
    from transforms import Array

lock = threading.Lock()


def locked(image: Array, mask: Array, rng: np.random.Generator) -> Pair:
    with lock:
        return pipelines.in_a_global(image, mask, rng)
