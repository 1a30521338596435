"""Mutated stores: read, listed, inspected; the right end is right samples or one of our errors.

What a mutation means is told by its kind: where pixels cannot have changed, they are compared with
the store's own; where metadata may say another thing, with zarr-python, if it reads the store.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import shutil
import struct
from typing import TYPE_CHECKING, Any

import google_crc32c
import numcodecs
import numpy as np
import zarr
from zarr import codecs

from case_stores import write_cases
from stores import traced_pixels, write_split
from zarrfeed import (
    ReadError,
    SplitReader,
    StoreError,
    list_splits,
    open_cases,
    open_split,
    stitch,
)
from zarrfeed.store.descriptive_arrays import class_pixels, normalization_of, sample_names
from zarrfeed_tools.inspection import inspect_store
from zarrfeed_tools.report.collection import collect_facts
from zarrfeed_tools.report.page import render
from zarrfeed_tools.report.sampled import look_at_samples

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from pathlib import Path

SAMPLES = 9
_SMALL = 64 << 20  # bytes of samples: what claims more is opened, but not read
_EDGES = [0, 1, -1, 2, 3, 7, 8, 255, 256, 2**16, 2**31 - 1, 2**31, 2**32, 2**62, 2**63 - 1, 2**63,
          2**64 - 1, 2**64, 10**12, 10**30, -(2**63)]  # fmt: skip
_VALUES = [
    None, True, False, [], {}, "", "x", "NaN", "/", "/../../", "..", 0.5, 1e308, float("nan"),
    float("inf"), [1], [[]], {"name": "x"}, {"must_understand": True}, {"must_understand": False},
    "\0", "ä" * 9, "a" * 5000, [0] * 400, "bytes", "gzip", "zstd", "blosc", "crc32c", "transpose",
    "sharding_indexed", "numcodecs.pickle", "uint16", "float32", "int8", "bool", "complex64", "big",
    "little", "start", "end", "default", "v2", "regular", "group", "array",
]  # fmt: skip
_METADATA = {"zarr.json", ".zarray", ".zgroup", ".zattrs"}


class StoreTrials:
    """Trials of small stores of many layouts."""

    def __init__(self, folder: Path) -> None:
        pixels = traced_pixels(SAMPLES)
        self._bases = [folder / str(number) for number in range(len(LAYOUTS))]
        for base, (kind, options) in zip(self._bases, LAYOUTS, strict=True):
            kind(base, pixels, options)
        self._right = [_read(base / "train", None) for base in self._bases]

    def __call__(self, rng: random.Random, folder: Path) -> int:
        """Mutate a copy of a store, and read it."""
        number = rng.randrange(len(self._bases))
        store = folder / "s"
        shutil.copytree(self._bases[number], store)
        harmless = True
        for _ in range(1 + (rng.random() < 0.3)):
            mutation = rng.choice(MUTATIONS)
            files = sorted(path for path in store.rglob("*") if path.is_file())
            if files:
                harmless &= bool(mutation(rng, files, store))
        return self._try(store, self._right[number] if harmless else None)

    def _try(self, store: Path, right: dict[str, np.ndarray] | None) -> int:
        declared = sum(path.stat().st_size for path in store.rglob("*") if path.is_file())
        for act in (list_splits, inspect_store, _page):
            try:
                act(store)
            except (StoreError, ReadError) as error:
                _named(error, store)
        try:
            split = open_split(store / "train")
        except (StoreError, ReadError) as error:
            _named(error, store)
            return declared
        for layout in split.layouts.values():
            chunk = math.prod(layout.chunk_shape) * layout.dtype.itemsize
            claimed = max(math.prod(layout.shape) * layout.dtype.itemsize, chunk)
            declared += min(claimed, 1 << 40)
        for describe in (_describe, _normalize, _stitch, _open):
            try:
                describe(split)
            except (StoreError, ReadError) as error:
                _named(error, store)
        for field, layout in split.layouts.items():
            try:
                found = _samples(split, field)
            except (StoreError, ReadError) as error:
                _named(error, store)
                continue
            if right is not None and field in right and found is not None:
                expected = right[field][:SAMPLES]
                assert np.array_equal(found, expected, equal_nan=True), f"{field} is wrong"
            elif found is not None:
                _compare(store / "train" / field, found, layout.shape)
        return declared


def _named(error: Exception, store: Path) -> None:
    assert str(store) in str(error), f"names no file: {error!r}"
    assert len(str(error)) < 3000, f"too long: {str(error)[:500]}"


def _page(store: Path) -> None:
    facts = collect_facts(store)
    render(facts, look_at_samples(facts, store, lambda *step: None))


def _describe(split: Any) -> None:
    assert isinstance(split.default_fields, tuple)
    assert all(isinstance(name, str) for name in split.classes)
    if split.layouts:
        count = min(4, next(iter(split.layouts.values())).shape[0])
        assert len(sample_names(split, range(count))) == count
        class_pixels(split, range(count))


def _normalize(split: Any) -> None:
    if "image" in split.layouts:
        with np.errstate(all="ignore"):
            found = normalization_of(split, range(min(SAMPLES, split.layouts["image"].shape[0])))
        assert np.isfinite(found.mean).all(), found


def _stitch(split: Any) -> None:
    image = split.layouts.get("image")
    if image is not None and len(image.shape) > 2:
        tile = split.tile_size or image.shape[1:3]
        shape = (split.tiles if split.tile_size else image.shape[0], *tile)
        if math.prod(shape) < _SMALL:
            list(stitch(split, np.zeros(shape, np.uint8)))


def _open(split: Any) -> None:
    """Open each case, and compare two ways of reading it: as a whole, and in parts."""
    if split.tile_size is None:
        return
    cases = open_cases(split)
    for field, key in itertools.product(cases.fields, list(cases)[:3]):
        case = cases.open(key, field)
        if case.nbytes < _SMALL and math.prod(case.chunks) < _SMALL:
            whole = np.asarray(case)
            parts = [case[row, ..., ::-1] for row in range(min(len(case), 9))]
            assert np.array_equal(whole[:9, ..., ::-1], parts, equal_nan=True)


def _samples(split: Any, field: str) -> np.ndarray | None:
    """Read a field, if it is small, and twice: all together, and in another order."""
    layout = split.layouts[field]
    ids = list(range(min(layout.shape[0], SAMPLES)))
    chunks = math.prod(
        -(-extent // step) for extent, step in zip(layout.shape, layout.chunk_shape, strict=True)
    )
    chunk = math.prod(layout.chunk_shape) * layout.dtype.itemsize
    if layout.sample_nbytes * len(ids) > _SMALL or chunk > _SMALL or chunks > 10_000:
        with SplitReader(split, [field]) as reader:
            assert len(reader) == layout.shape[0]
        return None
    with SplitReader(split, [field], open_files=2) as reader:
        found: np.ndarray = reader.read(ids)[field]
        assert np.array_equal(reader.read(ids[::-1])[field][::-1], found, equal_nan=True)
    return found


def _read(path: Path, fields: list[str] | None) -> dict[str, np.ndarray]:
    split = open_split(path)
    return {field: SplitReader(split, [field]).read(range(split.layouts[field].shape[0]))[field]
            for field in fields or split.layouts}  # fmt: skip


def _compare(folder: Path, found: np.ndarray, shape: tuple[int, ...]) -> None:
    """Read by zarr-python what we have read: it may refuse, but not say another thing."""
    if folder.is_symlink() or math.prod(shape) > _SMALL or not _plain(folder):
        return
    try:
        right = zarr.open_array(str(folder), mode="r")[: len(found)]
    except Exception:
        return
    assert np.array_equal(np.asarray(right), found, equal_nan=found.dtype.kind == "f"), (
        "zarr-python reads other values"
    )


def _plain(folder: Path) -> bool:
    """Whether zarr-python may be let at it: a pipe would block it."""
    return all(path.is_dir() or path.is_file() for path in folder.rglob("*"))


# -- stores -------------------------------------------------------------------------------------


def _v3(base: Path, pixels: dict[str, Any], options: dict[str, Any]) -> None:
    flat = {"name": "default", "separator": "."}  # fewer folders: half the time
    write_split(base / "train", pixels, chunk_key_encoding=flat, **options)


def _packed(base: Path, pixels: dict[str, Any], options: dict[str, Any]) -> None:
    """A split as the converter writes it, of cases."""
    from zarrfeed_convert import convert

    images = [np.kron(image, np.ones((2, 2, 1), np.uint8)) for image in pixels["image"][:3]]
    samples = [(image, image[:, :, 0] % 3) for image in images]
    convert(samples, base, split="train", classes=3, workers=1, tile=(8, 6), **options)


def _whole(base: Path, pixels: dict[str, Any], options: dict[str, Any]) -> None:
    """A split as the converter writes it, of whole images, three a chunk."""
    from zarrfeed_convert import convert

    samples = [(image, image[:, :, 0] % 3) for image in pixels["image"]]
    options = {"workers": 1, "classes": 3, "chunk_samples": 3, "shard_size": 999, **options}
    convert(samples, base, split="train", **options)


def _cases(base: Path, pixels: dict[str, Any], options: dict[str, Any]) -> None:
    """A split of cases as the converter writes it: 9 tiles of 4 images."""
    from zarrfeed_convert import convert

    samples = [
        {"image": image[:height, :width], "mask": image[:height, :width, 0] % 3}
        for image, (height, width) in zip(
            pixels["image"], [(8, 6), (5, 3), (3, 2), (1, 6)], strict=False
        )
    ]
    samples[1]["affine"] = np.diag([2.0, 0.5, 1])
    options = {"workers": 1, "classes": 3, "shard_size": 99, **options}
    convert(samples, base, split="train", tile=(4, 4), **options)


def _cases_of_others(base: Path, pixels: dict[str, Any], options: dict[str, Any]) -> None:
    """A split of cases by zarr-python, of volumes."""
    volume = pixels["image"]
    cases = {"a": {"image": volume}, "ä": {"image": volume[:2, :3, :4]}}
    affine = np.stack([np.diag([1.0, 2, 3, 1]), np.full((4, 4), np.nan)])
    write_cases(
        base / "train", cases, (5, 5, 4), affine=affine, spacing=affine[:, 0, :3], **options
    )


def _v2(base: Path, pixels: dict[str, Any], options: dict[str, Any]) -> None:
    zarr.open_group(str(base), mode="w", zarr_format=2)
    group = zarr.open_group(str(base / "train"), mode="w", zarr_format=2)
    for name, values in pixels.items():
        group.create_array(name, data=values, chunks=(2, *values.shape[1:]), **options)


def _other(dtype: str) -> Callable[[Path, dict[str, Any], dict[str, Any]], None]:
    def write(base: Path, pixels: dict[str, Any], options: dict[str, Any]) -> None:
        write_split(
            base / "train", {name: values.astype(dtype) for name, values in pixels.items()},
            **options,
        )  # fmt: skip

    return write


def _split_up(base: Path, pixels: dict[str, Any], options: dict[str, Any]) -> None:
    group = zarr.open_group(str(base / "train"), mode="w")
    chunks = {"image": (2, 4, 4, 2), "mask": (4, 3, 6)}
    for name, values in pixels.items():
        shards = tuple(2 * extent for extent in chunks[name]) if options.get("sharded") else None
        group.create_array(name, data=values, chunks=chunks[name], shards=shards)


LAYOUTS: list[tuple[Callable[[Path, Any, Any], None], dict[str, Any]]] = [
    (_v3, {"compressors": None}),
    (_v3, {"compressors": None, "shard": None, "chunk": 3}),
    (_v3, {"compressors": codecs.BloscCodec(cname="lz4", shuffle="noshuffle"), "chunk": 2}),
    (_v3, {"compressors": codecs.ZstdCodec()}),
    (_v3, {"compressors": codecs.ZstdCodec(), "shard": None}),
    (_v3, {"compressors": codecs.GzipCodec(), "chunk": 2}),
    (_v3, {"compressors": [codecs.BloscCodec(cname="zstd"), codecs.Crc32cCodec()]}),
    (_v3, {"compressors": codecs.Crc32cCodec()}),
    (_other("uint16"), {"compressors": codecs.BloscCodec(typesize=2)}),
    (_other("float32"), {"compressors": None}),
    (_split_up, {}),
    (_split_up, {"sharded": True}),
    (_v2, {}),
    (_v2, {"compressors": numcodecs.Blosc()}),
    (_v2, {"compressors": numcodecs.Zlib(), "order": "F"}),
    (_packed, {"codec": "raw"}),
    (_packed, {"codec": "lz4"}),
    (_cases, {"codec": "raw"}),
    (_cases, {"codec": "zstd"}),
    (_cases_of_others, {"compressors": None}),
    (_cases_of_others, {"compressors": codecs.BloscCodec(cname="lz4"), "shard": None}),
]


# -- mutations: each says whether pixels must still be the same, if they are read -----------------


def _bits(rng: random.Random, files: list[Path], store: Path) -> bool:
    """Flip bits, or put other bytes."""
    path = rng.choice(files)
    content = bytearray(path.read_bytes())
    for _ in range(rng.choice([1, 1, 3, 30])):
        if content:
            place = rng.randrange(len(content))
            content[place] = rng.choice([content[place] ^ 1 << rng.randrange(8), 0, 255, 34, 58])
    path.write_bytes(content)
    return False


def _length(rng: random.Random, files: list[Path], store: Path) -> bool:
    """Cut a file, or lengthen it."""
    path = rng.choice(files)
    content = path.read_bytes()
    cut = rng.randrange(len(content) + 1)
    more = rng.choice([b"", b"\0" * 100, rng.randbytes(50), content])
    path.write_bytes(rng.choice([content[:cut], content[cut:], content + more, b""]))
    return False


def _json(rng: random.Random, files: list[Path], store: Path) -> bool:
    """Change one value, name or list of metadata."""
    path = rng.choice([file for file in files if file.name in _METADATA] or files)
    if path.stat().st_size > 1 << 20:
        return False
    try:
        said = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return False
    places: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in pairs:
            places.append((value, key))
            if isinstance(inner, dict | list):
                walk(inner)

    if isinstance(said, dict | list):
        walk(said)
    if not places:
        return False
    for _ in range(rng.choice([1, 1, 1, 2])):
        holder, key = rng.choice(places)
        act = rng.randrange(5)
        value = rng.choice([rng.choice(_EDGES), rng.choice(_EDGES), rng.choice(_VALUES)])
        if act == 0 and isinstance(holder, dict):
            holder.pop(key, None)
        elif act == 1 and isinstance(holder, dict):
            holder[rng.choice(["x", "must_understand", "name", "zarrfeed", "", "codecs"])] = value
        elif act == 2 and isinstance(holder, list):
            holder.insert(rng.randrange(len(holder) + 1), value)
        elif act == 3:
            other, place = rng.choice(places)
            if place in other if isinstance(other, dict) else place < len(other):
                holder[key] = json.loads(json.dumps(other[place]))
        elif isinstance(holder, dict) or key < len(holder):
            holder[key] = value
    path.write_text(json.dumps(said))
    return False


def _text(rng: random.Random, files: list[Path], store: Path) -> bool:
    """Write what is hardly JSON at all."""
    path = rng.choice([file for file in files if file.name in _METADATA] or files)
    whole = path.read_bytes()
    path.write_bytes(
        rng.choice(
            [b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe" + whole, b"\xef\xbb\xbf" + whole,
             whole.decode("latin-1").encode("utf-16"), whole + whole, b"null", b"1" * 9999,
             b'"' + whole, whole.replace(b"{", b'{"zarr_format": 3, ', 1), b"NaN",
             b"[" + b"[]," * 3_000_000 + b"1]", whole[:-1] + b', "a": "\\ud800"}',
             whole.replace(b"0", b"00"), whole.replace(b"1", b"1e5", 1)]
        )
    )  # fmt: skip
    return False


def _index(rng: random.Random, files: list[Path], store: Path) -> bool:
    """Change entries of what may be a shard's index, with a checksum that fits."""
    path = rng.choice([file for file in files if file.name not in _METADATA] or files)
    content = bytearray(path.read_bytes())
    chunks = rng.choice([4, 2, 1, 8, 16])
    start = len(content) - 16 * chunks - 4
    if start < 0:
        return False
    for _ in range(rng.choice([1, 2])):
        entry = start + 16 * rng.randrange(chunks)
        offset, nbytes = struct.unpack_from("<QQ", content, entry)
        near = [offset + 1, nbytes - 1, nbytes + 1, len(content), start, 2**64 - nbytes]
        change = [rng.choice([*near, *_EDGES, offset, nbytes]) % 2**64 for _ in range(2)]
        if rng.random() < 0.5:
            change[rng.randrange(2)] = offset if rng.random() < 0.5 else nbytes
        struct.pack_into("<QQ", content, entry, *change)
    struct.pack_into("<I", content, len(content) - 4, google_crc32c.value(bytes(content[start:-4])))
    path.write_bytes(content)
    return False


def _chunk(rng: random.Random, files: list[Path], store: Path) -> bool:
    """Replace a file that is one chunk by another encoding of something."""
    path = rng.choice([file for file in files if file.name not in _METADATA] or files)
    content = rng.choice([bytes(432), bytes(1 << 24), b"", rng.randbytes(500)])
    codec = rng.choice([numcodecs.GZip(), numcodecs.Zstd(), numcodecs.Blosc(), numcodecs.Zlib()])
    encoded = bytearray(codec.encode(content))
    if rng.random() < 0.5 and encoded:
        encoded[rng.randrange(min(20, len(encoded)))] = rng.randrange(256)
    path.write_bytes(bytes(encoded) * rng.choice([1, 1, 3]))
    return False


def _swap(rng: random.Random, files: list[Path], store: Path) -> bool:
    """Exchange two files."""
    one, other = rng.choice(files), rng.choice(files)
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    return False


def _gone(rng: random.Random, files: list[Path], store: Path) -> bool:
    """Remove a file."""
    rng.choice(files).unlink()
    return False


def _special(rng: random.Random, files: list[Path], store: Path) -> bool:
    """Put something that is no file, or no folder, in the place of one."""
    path = rng.choice(files)
    for _ in range(rng.choice([0, 0, 0, 1, 2, 4])):
        if path.parent != store:
            path = path.parent
    aside = store.parent / f"aside{rng.random()}"
    path.rename(aside)
    act = rng.randrange(6)
    if act == 0:
        path.mkdir()
    elif act == 1:
        os.mkfifo(path)
    elif act == 2:
        path.symlink_to(rng.choice(["/dev/zero", "/etc/passwd", "/", "..", path.name]))
    elif act == 3:
        path.symlink_to(aside)
        # A folder that leads elsewhere may not be followed; the same pixels stand there.
    elif act == 4:
        path.write_bytes(b"{}")
    else:
        aside.rename(path)
        path.chmod(0)
    return act in (1, 3, 5)


def _nothing(rng: random.Random, files: list[Path], store: Path) -> bool:
    """Leave it: then it must be read."""
    return True


MUTATIONS = [
    _bits, _bits, _length, _json, _json, _json, _json, _text, _index, _index, _chunk, _swap, _gone,
    _special, _nothing,
]  # fmt: skip


class PackedTrials:
    """Trials of what works through whole packed stores: verify and repack."""

    def __init__(self, folder: Path) -> None:
        pixels = traced_pixels(SAMPLES)
        kinds = list(itertools.product((_whole, _cases), ("raw", "lz4", "zstd")))
        self._bases = [folder / f"{kind.__name__}{codec}" for kind, codec in kinds]
        for base, (kind, codec) in zip(self._bases, kinds, strict=True):
            kind(base, pixels, {"codec": codec})

    def __call__(self, rng: random.Random, folder: Path) -> int:
        """Mutate a copy of a store, verify and repack it."""
        from zarrfeed import SourceError
        from zarrfeed_convert import repack, verify

        store = folder / "s"
        shutil.copytree(rng.choice(self._bases), store)
        whole = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
        mutation = rng.choice(MUTATIONS)
        mutation(rng, sorted(whole), store)
        same = all(path.is_file() and path.read_bytes() == whole[path] for path in whole)
        try:
            found = verify(store, workers=1)
            assert found.ok or not same or mutation is _special, found.problems
        except (StoreError, ReadError, SourceError) as error:
            _named(error, store)
            assert not same or mutation is _special
        for out, tile in (("copied", None), ("cut", (3, 5))):
            try:
                repack(store / "train", folder / out, split="t", tile=tile, workers=1, codec="raw")
            except (StoreError, ReadError, SourceError) as error:
                _named(error, store)
        return sum(map(len, whole.values()))
