"""A file is there as a whole or not at all, and a lock has one holder."""

from __future__ import annotations

import os
import time

import pytest

from zarrfeed_convert.atomic_files import atomic_file
from zarrfeed_convert.locks import hold, locked, remove_abandoned


def test_a_file_is_seen_when_it_is_whole(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b"old")
    with atomic_file(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b"old")
    with pytest.raises(TypeError), atomic_file(path) as file:
        file.writelines([b"half", None])
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_lock_has_one_holder_and_ends_with_the_context(tmp_path):
    with locked(tmp_path), pytest.raises(BlockingIOError), locked(tmp_path, wait_s=0.1):
        pass
    with locked(tmp_path):
        pass


def test_a_link_is_not_locked(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there")
    with pytest.raises(OSError, match="link"), locked(tmp_path / "link"):
        pass


def test_what_somebody_holds_is_no_abandoned_file(tmp_path):
    for name in ("x-held", "x-left"):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - 100,) * 2)
    held = hold(tmp_path / "x-held")
    (tmp_path / "x-young").touch()
    (tmp_path / "other").touch()
    remove_abandoned(tmp_path, "x-")
    os.close(held)
    assert {path.name for path in tmp_path.iterdir()} == {"x-held", "x-young", "other"}
