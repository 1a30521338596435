"""Where the system allows few open files, some are given up; where there is no room, it is said."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from zarr import codecs

from scripts import environment
from stores import traced_pixels, write_split

CLIENT = Path(__file__).with_name("descriptor_client.py")


@pytest.mark.soak
def test_any_number_of_readers_gets_along_with_few_descriptors(tmp_path: Path) -> None:
    pixels = traced_pixels(400, 2, 2)
    for name, compressors in {
        "raw": None,
        "lz4": codecs.BloscCodec(cname="lz4"),
        "crc32c": codecs.Crc32cCodec(),
    }.items():
        write_split(tmp_path / name, pixels, shard=1, compressors=compressors)
    done = subprocess.run(
        [sys.executable, CLIENT, tmp_path],
        capture_output=True, text=True, timeout=250, check=False, env=environment(),
    )  # fmt: skip
    no_file, no_worker, *others = done.stdout.splitlines()
    limit = r"Too many open files.* may have \d+ files open: allow more \(ulimit -n\)"
    assert re.match(rf"ReadError .*/raw/(image|mask).*: {limit}", no_file)
    assert re.match(rf"WorkerError .*/raw.*: {limit}", no_worker)
    assert others == ["True"] * 6, done.stderr
