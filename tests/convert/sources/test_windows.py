"""Windows of samples: every format's parts are those of its whole samples."""

from __future__ import annotations

import pytest

from source_contract import require_windows
from source_seeds import seeds
from zarrfeed_convert import open_source
from zarrfeed_convert.formats import FORMATS


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seeds")
    return [(folder / str(number), seed) for number, seed in enumerate(seeds(folder))]


@pytest.mark.parametrize("kind", FORMATS)
def test_windows_of_every_format_are_parts_of_its_samples(datasets, monkeypatch, kind):
    found = [(folder, seed) for folder, seed in datasets if seed.kind == kind]
    assert found
    for folder, seed in found:
        monkeypatch.chdir(folder)
        source = open_source(kind, seed.arguments)
        for sample in range(len(source.keys)):
            require_windows(source, sample)
