"""What conversions wrote before is what they write now: every file, and every entry of its JSON.

``pinned_trees/CONVERSION.json`` holds what was written when it was pinned. Where a difference is
meant, have it written anew, look at ``git diff``, and say in the commit why it is meant::

    ZARRFEED_PIN=1 pytest tests/convert/test_pinned_trees.py
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

import zarrfeed
from pinned_conversions import CONVERSIONS, FORMATS, datasets_of_formats, pack_format
from zarrfeed_convert import verify

PINS = Path(__file__).with_name("pinned_trees")
PLAIN = {"bytes", "crc32c", "sharding_indexed"}  # codecs that compress nothing


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make paths relative, as they are recorded."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return datasets_of_formats(tmp_path_factory.mktemp("formats"))


@pytest.mark.parametrize("name", CONVERSIONS)
def test_a_conversion_writes_what_it_wrote(name: str, here: Path) -> None:
    CONVERSIONS[name]()
    require_pinned(name, here)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_format_is_packed_as_it_was(kind: str, here: Path, datasets: dict[str, Any]) -> None:
    pack_format(datasets[kind])
    require_pinned(f"format_{kind}", here)


def test_every_pin_has_its_conversion() -> None:
    names = {*CONVERSIONS, *(f"format_{kind}" for kind in FORMATS)}
    assert {path.stem for path in PINS.iterdir()} == names


def test_a_difference_is_named(here: Path) -> None:
    """Else a pin that compares nothing would go unseen."""
    CONVERSIONS["png_8_bit"]()
    before = pinned(here / "o.zarr")
    shard = here / "o.zarr/train/mask/c/0/0/0"
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    for name, old, new in (("", '"samples"', '"count"'), ("image", '"y"', '"line"')):
        metadata = here / "o.zarr/train" / name / "zarr.json"
        metadata.write_text(metadata.read_text().replace(old, new))
    (here / "o.zarr/train/note").write_text("new")
    after = pinned(here / "o.zarr")
    assert [line.partition(":")[0] for line in differences(before["arrays"], after["arrays"])] == [
        "train/image/zarr.json",
        "train/mask/c/0/0/0",
        "train/note",
    ]
    changed = differences(before["attributes"], after["attributes"])
    assert changed == [
        "train/zarr.json zarrfeed.count: not pinned, found 7",
        "train/zarr.json zarrfeed.samples: pinned 7, found nothing",
    ]


# -- What is pinned --------------------------------------------------------------------------------


def require_pinned(name: str, here: Path) -> None:
    """Compare the store that a conversion, or a repack of what it had written, has written."""
    store = next(path for path in (here / "new.zarr", here / "o.zarr") if path.exists())
    assert verify(store, workers=1).ok
    found = pinned(store)
    path = PINS / f"{name}.json"
    if os.environ.get("ZARRFEED_PIN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(written(found), "utf-8")
        pytest.skip(f"{path.name} is written anew")
    expected = json.loads(path.read_text("utf-8"))
    differ = [
        f"  {part}: {line}"
        for part in ("arrays", "attributes")
        for line in differences(expected[part], found[part])
    ]
    if differ:
        pytest.fail("\n".join([f"{path}: other things are written now:", *differ]), pytrace=False)


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    said = []
    for name in sorted({*before, *after}):
        if name not in after:
            said.append(f"{name}: pinned {before[name]}, found nothing")
        elif name not in before:
            said.append(f"{name}: not pinned, found {after[name]}")
        elif before[name] != after[name]:
            said.append(f"{name}: pinned {before[name]}, found {after[name]}")
    return said


def pinned(store: Path) -> dict[str, dict[str, Any]]:
    """Say what a store is: its arrays, and apart from these the JSON of its attributes."""
    arrays: dict[str, str] = {}
    attributes: dict[str, Any] = {}
    for path in sorted(path for path in store.rglob("*") if path.is_file()):
        name = path.relative_to(store).as_posix()
        if path.name == "zarr.json":
            metadata = json.loads(path.read_text("utf-8"))
            said = kept(metadata.pop("attributes", {}), str(store.parent))
            attributes |= {f"{name} {key}": value for key, value in entries(said).items()}
            if not metadata.get("storage_transformers"):  # which not every zarr-python writes
                metadata.pop("storage_transformers", None)
            arrays[name] = digest(json.dumps(metadata, sort_keys=True).encode())
        else:
            arrays[name] = digest_of_chunk(path)
    return {"arrays": arrays, "attributes": attributes}


def digest_of_chunk(path: Path) -> str:
    """Take the bytes of what isn't compressed; of the rest its values.

    Versions of Blosc and Zstandard compress differently. What codec it is, and with which options,
    is in the array's zarr.json. For the same reason, an array of files' sizes and digests is only
    checked by `verify` where some of them are compressed.
    """
    array = next(parent for parent in path.parents if (parent / "zarr.json").exists())
    if not compressed(array):
        return digest(path.read_bytes())
    if array.name == "shard_files" and any(
        compressed(array.with_name(field)) for field in ("image", "mask")
    ):
        return "of compressed files"
    opened = zarr.open_array(str(array), mode="r")
    place = [int(part) for part in path.relative_to(array / "c").parts]
    shape = opened.shards or opened.chunks
    box = tuple(slice(at * size, (at + 1) * size) for at, size in zip(place, shape, strict=True))
    return f"values {digest(np.ascontiguousarray(opened[box]).tobytes())}"


def compressed(array: Path) -> bool:
    metadata = json.loads((array / "zarr.json").read_text("utf-8"))
    outer = metadata.get("codecs", [])  # a group has none
    inner = [codec for one in outer for codec in one.get("configuration", {}).get("codecs", [])]
    return not {codec["name"] for codec in outer + inner} <= PLAIN


def kept(value: Any, here: str) -> Any:
    """Leave out what may differ though the same was done.

    ``zarrfeed`` of ``packed`` is its version; a ``reason`` and a ``why`` are sentences for people,
    which other tests look at; paths are of this machine. No dates or durations are recorded.
    """
    if isinstance(value, dict):
        return {
            name: kept(entry, here)
            for name, entry in value.items()
            if name not in ("reason", "why")
            and not (name == "zarrfeed" and entry == zarrfeed.__version__)
        }
    if isinstance(value, list):
        return [kept(entry, here) for entry in value]
    return value.replace(here, "HERE") if isinstance(value, str) else value


def entries(said: dict[str, Any], levels: int = 3) -> dict[str, Any]:
    """List the entries of dicts in dicts, by names like ``zarrfeed.packed.settings``."""
    found: dict[str, Any] = {}
    for name, value in said.items():
        if isinstance(value, dict) and value and levels > 1:
            below = entries(value, levels - 1)
            found |= {f"{name}.{key}": entry for key, entry in below.items()}
        else:
            found[name] = value
    return found


def digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def written(pins: dict[str, dict[str, Any]]) -> str:
    """Write an entry a line, so that a difference is one."""
    parts = []
    for part, values in pins.items():
        lines = [
            f"    {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}"
            for name, value in values.items()
        ]
        parts.append(f'  "{part}": {{\n' + ",\n".join(lines) + "\n  }")
    return "{\n" + ",\n".join(parts) + "\n}\n"
