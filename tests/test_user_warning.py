"""A warning names the user's line, whatever lies between it and zarrfeed."""

from __future__ import annotations

from typing import Any

import pytest

from zarrfeed.user_warning import warn_user


def test_lines_of_zarrfeed_and_keras_are_passed_over() -> None:
    deep: dict[str, Any] = {"__name__": "zarrfeed.feed.deep", "warn_user": warn_user}
    exec("def warns(): warn_user('found', RuntimeWarning)", deep)
    trainer: dict[str, Any] = {"__name__": "keras.src.trainer", "called": deep["warns"]}
    exec("def fit(): called()", trainer)
    other: dict[str, Any] = {"__name__": "zarrfeeder", "fit": trainer["fit"]}
    exec(compile("def train(): fit()", "zarrfeeder.py", "exec"), other)
    with pytest.warns(RuntimeWarning, match="found") as found:
        trainer["fit"]()
    assert found[0].filename == __file__
    with pytest.warns(RuntimeWarning, match="found") as found:
        other["train"]()
    assert found[0].filename == "zarrfeeder.py"
