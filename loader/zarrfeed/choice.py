"""Which Keras does the user mean?"""

from __future__ import annotations

import os


def legacy_keras() -> bool:
    """Whether ``tf.keras`` is tf_keras, by the rule of TensorFlow itself."""
    return os.environ.get("TF_USE_LEGACY_KERAS") in ("1", "true", "True")
