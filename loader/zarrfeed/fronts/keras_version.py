"""Which Keras does the user want, and what does the error say if it is missing?"""

from __future__ import annotations

import os

from zarrfeed.errors import how_to_install, look_up


def legacy_keras() -> bool:
    """Whether ``tf.keras`` is tf_keras, by TensorFlow's own rule."""
    return os.environ.get("TF_USE_LEGACY_KERAS") in ("1", "true", "True")


def no_keras(needed_by: str, error: ImportError) -> ImportError:
    """Return the error of a Keras, or of its backend, that could not be imported."""
    if legacy_keras():
        message = (
            f"{needed_by} needs tf_keras, for which TF_USE_LEGACY_KERAS asks ({error}): "
            f"{how_to_install('tf-keras')}, or unset the variable for Keras 3"
            f"{look_up('missing-package')}"
        )
    else:
        message = (
            f"{needed_by} needs Keras with a backend ({error}): {how_to_install('tensorflow')} "
            "(or '.[jax]', or '.[torch]'); KERAS_BACKEND chooses among those that are installed"
            f"{look_up('missing-package')}"
        )
    return ImportError(message, name=error.name, path=error.path)
